// An OpenID provider: `node openid_provider.mjs PORT CLIENT_ID CLIENT_SECRET`. It requires PKCE, and asks for a name only;
// groups follow after a plus, as in `ada+editors`.
//
// `PUT /-/addresses` with `{"redirect": [], "logout": [], "backchannel": ""}` sets the client's addresses, `POST /-/rotate`
// replaces the signing key.
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { json, text } from "node:stream/consumers";
import { Provider } from "oidc-provider";

const [port, clientId, clientSecret] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
let addresses = { redirect: ["http://127.0.0.1/none"], logout: [], backchannel: "http://127.0.0.1/none" };
let key = newKey(1);
let provider = newProvider();

function newKey(serial) {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { ...privateKey.export({ format: "jwk" }), kid: `key-${serial}`, use: "sig", alg: "RS256", serial };
}

/** Groups by name, as the last sign-in gave them. */
const groups = new Map();

function accountOf(name) {
  const claims = { name: name[0].toUpperCase() + name.slice(1), email: `${name}@example.test`, email_verified: true };
  return { accountId: name, claims: () => ({ ...claims, sub: name, groups: groups.get(name) ?? [] }) };
}

/** Grants the client all scopes without asking. */
async function grantOf(context) {
  const { client, session, provider } = context.oidc;
  const grantId = session.grantIdFor(client.clientId);
  if (grantId !== undefined) return provider.Grant.find(grantId);
  const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
  grant.addOIDCScope("openid email profile");
  await grant.save();
  return grant;
}

function page(title, content) {
  return `<!doctype html><html lang="en"><head><title>${title}</title><link rel="icon" href="data:,"></head><body>${content}</body></html>`;
}

function newProvider() {
  const { serial: _, ...jwk } = key;
  const made = new Provider(issuer, {
    clients: [
      {
        client_id: clientId,
        client_secret: clientSecret,
        redirect_uris: addresses.redirect,
        post_logout_redirect_uris: addresses.logout,
        backchannel_logout_uri: addresses.backchannel,
        backchannel_logout_session_required: true,
      },
    ],
    jwks: { keys: [jwk] },
    cookies: { keys: ["the key of a test"] },
    claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name", "groups"] },
    conformIdTokenClaims: false,
    // Its own dispatcher calls no loopback address, where the tests' clients are.
    fetch: (url, { dispatcher: _, ...options }) => fetch(url, options),
    pkce: { required: () => true },
    features: {
      devInteractions: { enabled: false },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (context, form) => {
          const button = '<button form="op.logoutForm" name="logout" value="yes">Sign out of the provider</button>';
          context.body = page("Sign out", form + button);
        },
      },
    },
    interactions: { url: (_, { uid }) => `/interaction/${uid}` },
    findAccount: (_, name) => accountOf(name),
    loadExistingGrant: grantOf,
  });
  made.on("backchannel.error", (_, error) => console.error(error));
  return made;
}

async function interact(request, response) {
  if (request.method === "GET") {
    const label = '<label>Name <input name="login" required></label>';
    response.setHeader("content-type", "text/html");
    response.end(page("Sign in", `<form method="post">${label}<button>Continue</button></form>`));
    return;
  }
  const [name, ...memberships] = new URLSearchParams(await text(request)).get("login").split("+");
  groups.set(name, memberships);
  await provider.interactionFinished(request, response, { login: { accountId: name } });
}

async function respond(request, response) {
  if (request.url === "/-/addresses") {
    addresses = await json(request);
    provider = newProvider();
    response.end();
  } else if (request.url === "/-/rotate") {
    key = newKey(key.serial + 1);
    provider = newProvider();
    response.end();
  } else if (request.url.startsWith("/interaction/")) {
    await interact(request, response);
  } else {
    await provider.callback()(request, response);
  }
}

createServer((request, response) => {
  respond(request, response).catch((error) => {
    console.error(error);
    response.writeHead(500).end(String(error));
  });
}).listen(Number(port), "127.0.0.1");
