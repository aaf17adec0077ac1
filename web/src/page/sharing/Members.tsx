import type { Chat, Member, Role, Sharing } from "parley-client";
import { type FormEvent, useState } from "react";
import { Problem } from "../requests/Problem";
import { type Loaded, useLoaded } from "../requests/useLoaded";

/** The roles that an owner gives, in words. */
const ROLES: readonly (readonly [role: Role, label: string])[] = [
  ["writer", "Can write"],
  ["reader", "Can read"],
];

interface MembersProps {
  readonly chat: Chat;
  readonly sharing: Sharing;
  /** Whether the user owns the chat: others see the members and may leave. */
  readonly owner: boolean;
  readonly userId: string | null;
  onLeft(): void;
}

/** The members of a chat with their roles, and pending invitations. */
export function Members({ chat, sharing, owner, userId, onLeft }: MembersProps) {
  const members = useLoaded(`${chat.id} ${chat.owner_id}`, () => sharing.members(chat.id));
  const leave = async () => {
    if (userId === null) return;
    const left = await members.run(() => sharing.removeMember(chat.id, userId).then(() => true));
    if (left) onLeft();
  };
  return (
    <>
      {owner && <InviteForm chatId={chat.id} members={members} sharing={sharing} />}
      <Problem text={members.problem} />
      <ul aria-label="Members" className="rows">
        {members.value?.map((member) => (
          <MemberRow
            chatId={chat.id}
            editable={owner && member.role !== "owner"}
            key={member.user_id}
            member={member}
            members={members}
            self={member.user_id === userId}
            sharing={sharing}
          />
        ))}
      </ul>
      {!owner && (
        <button
          className="button mt-4"
          data-testid="leave"
          disabled={members.busy}
          onClick={leave}
          type="button"
        >
          Leave this chat
        </button>
      )}
    </>
  );
}

interface InviteFormProps {
  readonly chatId: string;
  readonly sharing: Sharing;
  readonly members: Loaded<readonly Member[]>;
}

function InviteForm({ chatId, sharing, members }: InviteFormProps) {
  const [userId, setUserId] = useState("");
  const [role, setRole] = useState<Role>("writer");
  const invite = async (event: FormEvent) => {
    event.preventDefault();
    const invited = await members.run(() => sharing.setRole(chatId, userId.trim(), role).then(() => true));
    if (invited) setUserId("");
  };
  return (
    <form className="flex flex-wrap items-end gap-2" onSubmit={invite}>
      <label className="field min-w-56 flex-1">
        User id
        <input
          autoComplete="off"
          className="input"
          data-testid="invite-user"
          onChange={(event) => setUserId(event.target.value)}
          required
          spellCheck={false}
          value={userId}
        />
      </label>
      <div className="field">
        <span aria-hidden="true">Role</span>
        <RoleSelect label="Role" onChange={setRole} role={role} testid="invite-role" />
      </div>
      <button
        className="button"
        data-testid="invite"
        disabled={members.busy || userId.trim() === ""}
        type="submit"
      >
        Invite
      </button>
      <p className="w-full text-muted-foreground text-sm">
        A person finds their user id under Account. They join when they accept the invitation.
      </p>
    </form>
  );
}

interface RoleSelectProps {
  readonly role: Role;
  readonly label: string;
  readonly testid?: string;
  readonly disabled?: boolean;
  onChange(role: Role): void;
}

function RoleSelect({ role, label, testid, disabled, onChange }: RoleSelectProps) {
  return (
    <select
      aria-label={label}
      className="input"
      data-testid={testid}
      disabled={disabled}
      onChange={(event) => onChange(event.target.value as Role)}
      value={role}
    >
      {ROLES.map(([value, text]) => (
        <option key={value} value={value}>
          {text}
        </option>
      ))}
    </select>
  );
}

interface MemberRowProps {
  readonly chatId: string;
  readonly member: Member;
  readonly members: Loaded<readonly Member[]>;
  readonly sharing: Sharing;
  /** Whether the user may change or remove the member. */
  readonly editable: boolean;
  /** Whether the member is the user. */
  readonly self: boolean;
}

function MemberRow({ chatId, member, members, sharing, editable, self }: MemberRowProps) {
  const [handingOver, setHandingOver] = useState(false);
  const { user_id, role } = member;
  const name = member.name || user_id;
  const invited = member.status === "invited";
  return (
    <li className="row flex-wrap" data-role={role} data-testid="member" data-user-id={user_id}>
      <p className="min-w-40 flex-1 break-all" dir="auto">
        {name}
        {self && <span className="badge">You</span>}
        {invited && <span className="badge">Invited</span>}
      </p>
      {!editable && (
        <span className="text-muted-foreground text-sm">
          {role === "owner" ? "Owner" : ROLES.find(([value]) => value === role)?.[1]}
        </span>
      )}
      {editable && !handingOver && (
        <>
          <RoleSelect
            disabled={members.busy}
            label={`Role of ${name}`}
            onChange={(chosen) => members.run(() => sharing.setRole(chatId, user_id, chosen))}
            role={role}
          />
          {!invited && (
            <button className="button" onClick={() => setHandingOver(true)} type="button">
              Make owner
            </button>
          )}
          <button
            aria-label={invited ? `Withdraw the invitation of ${name}` : `Remove ${name}`}
            className="button"
            disabled={members.busy}
            onClick={() => members.run(() => sharing.removeMember(chatId, user_id))}
            type="button"
          >
            {invited ? "Withdraw" : "Remove"}
          </button>
        </>
      )}
      {editable && handingOver && (
        <>
          <span className="text-sm">Make this person the owner? You remain as a writer.</span>
          <button className="button" onClick={() => setHandingOver(false)} type="button">
            Cancel
          </button>
          <button
            className="button border-transparent bg-primary text-primary-foreground hover:bg-primary/90"
            data-testid="hand-over"
            disabled={members.busy}
            onClick={() => members.run(() => sharing.handOver(chatId, user_id))}
            type="button"
          >
            Hand over
          </button>
        </>
      )}
    </li>
  );
}
