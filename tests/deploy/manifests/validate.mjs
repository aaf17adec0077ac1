// Reads custom resources as a JSON list and says what their schemas find wrong with each; nothing: an empty list.
import { readFileSync } from "node:fs";

const PACKAGES = {
  "gateway.networking.k8s.io": "gateway-api",
  "keda.sh": "keda",
  "monitoring.coreos.com": "prometheus-operator",
  "postgresql.cnpg.io": "cloudnative-pg",
};

const problems = [];
for (const resource of JSON.parse(readFileSync(0, "utf8"))) {
  const [group, version] = resource.apiVersion.split("/");
  const path = `@kubernetes-models/${PACKAGES[group]}/${group}/${version}/${resource.kind}`;
  const model = (await import(path))[resource.kind];
  try {
    new model(resource).validate();
  } catch (error) {
    problems.push(`${resource.kind} ${resource.metadata.name}: ${error.message}`);
  }
}
console.log(JSON.stringify(problems));
