import type { CreatedShareLink, Invitation, Member, ShareLink } from "../protocol/bodies.ts";
import type { Page } from "../protocol/protocol.ts";
import type { Http } from "../transport/http.ts";
import type { Role } from "./bodies.ts";

/** Who else reads and writes a chat: members, invitations and read-only links. */
export class Sharing {
  private readonly http: Http;

  constructor(http: Http) {
    this.http = http;
  }

  /** Returns the members of a chat and the users who are invited to it. */
  async members(chatId: string): Promise<readonly Member[]> {
    return (await this.http.request<Page<Member>>("GET", `/chats/${chatId}/members`)).items;
  }

  /** Invites a user, or changes the role of a member. */
  async setRole(chatId: string, userId: string, role: Role): Promise<void> {
    await this.http.request("PUT", `/chats/${chatId}/members/${encodeURIComponent(userId)}`, { role });
  }

  /** Removes a member or withdraws an invitation; a member may remove themselves. */
  async removeMember(chatId: string, userId: string): Promise<void> {
    await this.http.request("DELETE", `/chats/${chatId}/members/${encodeURIComponent(userId)}`);
  }

  /** Makes a member the owner; the owner before becomes a writer. */
  async handOver(chatId: string, userId: string): Promise<void> {
    await this.http.request("PUT", `/chats/${chatId}/owner`, { user_id: userId });
  }

  /** Returns the user's own pending invitations. */
  async invitations(): Promise<readonly Invitation[]> {
    return (await this.http.request<Page<Invitation>>("GET", "/invitations")).items;
  }

  async accept(chatId: string): Promise<void> {
    await this.http.request("POST", `/invitations/${chatId}`);
  }

  async decline(chatId: string): Promise<void> {
    await this.http.request("DELETE", `/invitations/${chatId}`);
  }

  async links(chatId: string): Promise<readonly ShareLink[]> {
    return (await this.http.request<Page<ShareLink>>("GET", `/chats/${chatId}/shares`)).items;
  }

  /**
   * @param live Whether the link shows messages that are written after it was made.
   * @param tipId The branch through this message; null: the one that the chat continues from.
   */
  createLink(chatId: string, live: boolean, tipId: string | null): Promise<CreatedShareLink> {
    return this.http.request("POST", `/chats/${chatId}/shares`, { live, tip_id: tipId });
  }

  async revokeLink(chatId: string, id: string): Promise<void> {
    await this.http.request("DELETE", `/chats/${chatId}/shares/${id}`);
  }
}
