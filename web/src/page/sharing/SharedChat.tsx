import { browserEnvironment, Http } from "parley-client";
import { useEffect, useState } from "react";
import { LazyModule, useLazyModule } from "../loading/lazy";
import { ReloadNotice } from "../loading/ReloadNotice";

const sharedPage = new LazyModule(() => import("./SharedPage"));

/** Loads the page of a shared chat, which search engines are not to list. */
export function SharedChat({ token }: { readonly token: string }) {
  const [http] = useState(() => new Http(browserEnvironment()));
  const page = useLazyModule(sharedPage);
  useEffect(() => {
    const robots = document.createElement("meta");
    robots.name = "robots";
    robots.content = "noindex";
    document.head.append(robots);
    return () => robots.remove();
  }, []);
  return page === null ? <ReloadNotice /> : <page.SharedPage http={http} token={token} />;
}
