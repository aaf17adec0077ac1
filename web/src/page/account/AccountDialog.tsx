import { Account, type Me } from "parley-client";
import { useMemo } from "react";
import { useLoaded } from "../requests/useLoaded";
import { useParley } from "../session/context";
import { Dialog } from "../ui/Dialog";
import { Tabs } from "../ui/Tabs";
import { ApiKeys } from "./ApiKeys";
import { Profile } from "./Profile";
import { Sessions } from "./Sessions";
import { Usage } from "./Usage";
import { YourData } from "./YourData";

interface AccountDialogProps {
  onClose(): void;
}

/** The user's account: profile, sessions, API keys, usage, export and erasure. */
export function AccountDialog({ onClose }: AccountDialogProps) {
  const parley = useParley();
  const account = useMemo(() => new Account(parley.http), [parley]);
  const me = useLoaded<Me>("", () => account.me());
  return (
    <Dialog onClose={onClose} testid="account" title="Account">
      <Tabs
        label="Account"
        tabs={[
          { id: "profile", label: "Profile", panel: <Profile me={me} /> },
          { id: "sessions", label: "Sessions", panel: <Sessions account={account} /> },
          { id: "api-keys", label: "API keys", panel: <ApiKeys account={account} /> },
          { id: "usage", label: "Usage", panel: <Usage account={account} /> },
          { id: "data", label: "Your data", panel: <YourData account={account} me={me} /> },
        ]}
      />
    </Dialog>
  );
}
