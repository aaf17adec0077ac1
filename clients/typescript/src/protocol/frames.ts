/**
 * The frames of the socket and their resources, generated from `parley.contracts` by `scripts/gen_typescript.py`:
 * change the contracts, not this file. {@link SCHEMAS} has the same content as the types, for `validate.ts`.
 */

export interface ReadyFrame {
  readonly type: "ready";
  readonly user_id: string;
  readonly protocol?: number;
}

/** Brings a reader up to date. */
export interface SnapshotFrame {
  readonly type: "snapshot";
  readonly chat_id: string;
  readonly version: number;
  /** True: `messages` are those that changed since the cursor. False: the newest page; replace. */
  readonly recovered: boolean;
  readonly chat: Chat;
  readonly messages: readonly Message[];
  readonly generation: RunningAnswer | null;
  /** Where older messages go on (`before=` of `GET …/messages`); null at the chat's beginning, and when `recovered`. */
  readonly next?: string | null;
}

/** A chat. */
export interface Chat {
  readonly id: string;
  readonly owner_id: string;
  readonly title: string | null;
  readonly model: string | null;
  readonly system_prompt: string | null;
  /** The message that the newest turn ended with: the end of the branch shown by default. */
  readonly tip_id: string | null;
  readonly created_at: string;
  readonly updated_at: string;
  /** Raised by one with each committed change to the chat or its messages. */
  readonly version: number;
  /** Whether an answer is requested or running. */
  readonly running: boolean;
}

/** A prompt (`role` user) or an answer (`role` assistant), a node in its chat's tree. */
export interface Message {
  readonly id: string;
  readonly chat_id: string;
  /** The message before it; null for a root, and for a queued prompt whose place is not known yet. */
  readonly parent_id: string | null;
  readonly role: "assistant" | "user";
  readonly author_id: string | null;
  /** Empty while an answer is pending or streaming; the running text is in the `generation` of a snapshot. */
  readonly content: string;
  readonly reasoning: string;
  /** `rejected`: accepted, and then not stored; `error` has the reason. Only its author sees it, and no page and no snapshot contains it. */
  readonly status: "complete" | "deleted" | "failed" | "pending" | "queued" | "rejected" | "sent" | "stopped" | "streaming";
  readonly model: string | null;
  readonly error: MessageError | null;
  readonly usage: Usage | null;
  readonly created_at: string;
  /** The chat's version at this message's last change. */
  readonly version: number;
  /** Of an answer that the model ended: `stop`, `length`, `tool_calls`, `content_filter` or a provider's own word; null where it gave none. */
  readonly finish_reason?: string | null;
  /** Of an answer: which attempt it is, from 1; 0: none began. */
  readonly attempt?: number;
  /** Of an answer that has ended: the calls of tools in it. */
  readonly tool_calls?: readonly ToolCall[];
  /** The order of text, reasoning and calls; empty: reasoning, text, calls. */
  readonly layout?: readonly Span[];
}

/** Why an answer failed: `code` for programs, `message` for people. */
export interface MessageError {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
}

/** Tokens of an answer. */
export interface Usage {
  readonly input_tokens: number;
  readonly output_tokens: number;
  /** Not counted by the provider: the answer was stopped or failed before the provider reported a count. */
  readonly estimated?: boolean;
}

/** A call of a tool within an answer. */
export interface ToolCall {
  /** The provider's, unique within the answer. */
  readonly id: string;
  readonly name: string;
  /** JSON, as the model wrote it. */
  readonly arguments?: string;
  /** The server that runs it for Parley; null: a tool of the client, which runs it and sends the result; `unknown`: nobody has such a tool, and the call has failed. */
  readonly server?: string | null;
  /** `called` is the last one of a client's tool. */
  readonly status?: "awaiting_approval" | "called" | "complete" | "denied" | "failed" | "running";
  /** Text, or JSON as text; null until there is one. Of a failed call, why. */
  readonly result?: string | null;
  /** How long it ran. */
  readonly seconds?: number | null;
  /** A JSON object of the provider, which gets it back with the call: Google's thought signature, without which Gemini refuses the result. */
  readonly extra_content?: string | null;
}

/** A run of an answer, in the order in which the model wrote. */
export interface Span {
  readonly kind: "reasoning" | "text" | "tool";
  /** Characters (Unicode code points) of the text or the reasoning; of `tool`, which is the next call, 0. */
  readonly length?: number;
}

/** The running answer within a snapshot. */
export interface RunningAnswer {
  readonly generation_id: string;
  readonly message_id: string;
  /** 0 while no worker has claimed it. */
  readonly attempt: number;
  readonly status: "requested" | "retrying" | "running";
  /** The number of the last chunk in `text` and `reasoning`. */
  readonly seq: number;
  /** 0: `text` and `reasoning` are whole, replace. Else they start behind seq `after`: append. */
  readonly after: number;
  readonly text: string;
  readonly reasoning: string;
  /** All calls of tools until `seq`, whatever `after` is: replace, unless `seq` is `after` (then nothing came, and the reader's stay). */
  readonly tool_calls?: readonly ToolCall[];
  /** The order of text, reasoning and calls until `seq`: replace it like `tool_calls`. Empty: reasoning, text, calls. */
  readonly layout?: readonly Span[];
}

/** A message was added or changed. A terminal status of an answer means that it is stored. */
export interface MessageFrame {
  readonly type: "message";
  readonly chat_id: string;
  readonly version: number;
  readonly message: Message;
}

/** A new attempt started (drop the text of older ones), or the worker waits before it tries again. */
export interface GenerationFrame {
  readonly type: "generation";
  readonly chat_id: string;
  readonly generation_id: string;
  readonly message_id: string;
  readonly attempt: number;
  readonly status: "retrying" | "started";
  readonly retry_at?: string | null;
}

/** The newest chunks of the running answer: the content of one read from the provider. */
export interface DeltaFrame {
  readonly type: "delta";
  readonly chat_id: string;
  readonly generation_id: string;
  readonly attempt: number;
  readonly from: number;
  readonly to: number;
  readonly kind: "reasoning" | "text";
  readonly text: string;
  /** News of a tool call, which is a chunk like any other; `kind` is then `text`, and `text` is empty. */
  readonly tool?: ToolDelta | null;
  readonly v?: number;
}

/** A change of the call number `index` (from 0) of a running answer. */
export interface ToolDelta {
  readonly index: number;
  /** The call begins, or its status or result changed: replaces what was known. */
  readonly call?: ToolCall | null;
  /** More of its arguments: append. */
  readonly arguments?: string;
}

/** The chat itself changed; null: it was deleted, or the reader was removed from it. */
export interface ChatFrame {
  readonly type: "chat";
  readonly chat_id: string;
  readonly version: number;
  readonly chat: Chat | null;
}

/** What the user's list shows of a chat changed, or the chat is new there. */
export interface ListedFrame {
  readonly type: "listed";
  readonly chat_id: string;
  /** The chat's version. One that is not higher than what the reader has is old. */
  readonly version: number;
  /** Null: the chat was deleted, or the user is no member any more. */
  readonly chat: ChatSummary | null;
}

/** What a list of chats shows of one. */
export interface ChatSummary {
  readonly id: string;
  readonly title: string | null;
  readonly updated_at: string;
  readonly version: number;
  readonly running: boolean;
}

/** The list of chats may have changed unseen: read it again (`GET /v1/chats`), and the invitations. */
export interface RelistFrame {
  readonly type: "relist";
  /** Seconds; wait a random part of them before, for all readers are notified at once. */
  readonly within?: number;
}

/** The user was invited to a chat, or an invitation changed or is gone: read them again (`GET /v1/invitations`). */
export interface InvitationsFrame {
  readonly type: "invitations";
}

/** Who has a shared chat open now, the reader included: replaces what was known. */
export interface PresenceFrame {
  readonly type: "presence";
  readonly chat_id: string;
  readonly users: readonly PresentUser[];
}

/** A member of a shared chat who has it open. */
export interface PresentUser {
  readonly user_id: string;
  /** `writing` for some seconds after a `typing` frame. */
  readonly state: "reading" | "writing";
}

/** A prompt of this user, accepted with 202, could not be stored. Sent to all of the user's sockets. */
export interface RejectedFrame {
  readonly type: "rejected";
  readonly chat_id: string;
  readonly message_id: string;
  readonly error: MessageError;
}

/** Something asked for was refused; the socket stays open. */
export interface ErrorFrame {
  readonly type: "error";
  readonly code: string;
  readonly message: string;
  readonly chat_id?: string | null;
}

/** The first frame, within 10 s: a ticket from `POST /v1/push-ticket`. */
export interface AuthFrame {
  readonly type: "auth";
  readonly ticket: string;
  /** Whether to follow the user's list of chats (`listed`, `relist`, `invitations`), too. */
  readonly chats?: boolean;
}

/** Follow a chat. With `after`, only what the reader has not seen is sent; null asks for everything. */
export interface WatchFrame {
  readonly type: "watch";
  readonly chat_id: string;
  readonly after?: Cursor | null;
}

/** What a reader already has. Without `generation_id` it has no running answer. */
export interface Cursor {
  readonly version: number;
  readonly generation_id?: string | null;
  readonly attempt?: number;
  readonly seq?: number;
}

export interface UnwatchFrame {
  readonly type: "unwatch";
  readonly chat_id: string;
}

/** The user writes a message in a watched chat; sent again each three seconds while that is so. */
export interface TypingFrame {
  readonly type: "typing";
  readonly chat_id: string;
}

export type ServerFrame = ReadyFrame | SnapshotFrame | MessageFrame | GenerationFrame | DeltaFrame | ChatFrame | ListedFrame | RelistFrame | InvitationsFrame | PresenceFrame | RejectedFrame | ErrorFrame;

export type ClientFrame = AuthFrame | WatchFrame | UnwatchFrame | TypingFrame;

/** What each type allows; fields that are not listed are ignored. */
export const SCHEMAS = {
  ReadyFrame: {
    required: [
      "type",
      "user_id"
    ],
    fields: {
      type: {
        enum: [
          "ready"
        ]
      },
      user_id: "string",
      protocol: "integer"
    }
  },
  SnapshotFrame: {
    required: [
      "type",
      "chat_id",
      "version",
      "recovered",
      "chat",
      "messages",
      "generation"
    ],
    fields: {
      type: {
        enum: [
          "snapshot"
        ]
      },
      chat_id: "string",
      version: "integer",
      recovered: "boolean",
      chat: {
        ref: "Chat"
      },
      messages: {
        items: {
          ref: "Message"
        }
      },
      generation: [
        {
          ref: "RunningAnswer"
        },
        "null"
      ],
      next: [
        "string",
        "null"
      ]
    }
  },
  Chat: {
    required: [
      "id",
      "owner_id",
      "title",
      "model",
      "system_prompt",
      "tip_id",
      "created_at",
      "updated_at",
      "version",
      "running"
    ],
    fields: {
      id: "string",
      owner_id: "string",
      title: [
        "string",
        "null"
      ],
      model: [
        "string",
        "null"
      ],
      system_prompt: [
        "string",
        "null"
      ],
      tip_id: [
        "string",
        "null"
      ],
      created_at: "string",
      updated_at: "string",
      version: "integer",
      running: "boolean"
    }
  },
  Message: {
    required: [
      "id",
      "chat_id",
      "parent_id",
      "role",
      "author_id",
      "content",
      "reasoning",
      "status",
      "model",
      "error",
      "usage",
      "created_at",
      "version"
    ],
    fields: {
      id: "string",
      chat_id: "string",
      parent_id: [
        "string",
        "null"
      ],
      role: {
        enum: [
          "assistant",
          "user"
        ]
      },
      author_id: [
        "string",
        "null"
      ],
      content: "string",
      reasoning: "string",
      status: "string",
      model: [
        "string",
        "null"
      ],
      error: [
        {
          ref: "MessageError"
        },
        "null"
      ],
      usage: [
        {
          ref: "Usage"
        },
        "null"
      ],
      created_at: "string",
      version: "integer",
      finish_reason: [
        "string",
        "null"
      ],
      attempt: "integer",
      tool_calls: {
        items: {
          ref: "ToolCall"
        }
      },
      layout: {
        items: {
          ref: "Span"
        }
      }
    }
  },
  MessageError: {
    required: [
      "code",
      "message",
      "retryable"
    ],
    fields: {
      code: "string",
      message: "string",
      retryable: "boolean"
    }
  },
  Usage: {
    required: [
      "input_tokens",
      "output_tokens"
    ],
    fields: {
      input_tokens: "integer",
      output_tokens: "integer",
      estimated: "boolean"
    }
  },
  ToolCall: {
    required: [
      "id",
      "name"
    ],
    fields: {
      id: "string",
      name: "string",
      arguments: "string",
      server: [
        "string",
        "null"
      ],
      status: "string",
      result: [
        "string",
        "null"
      ],
      seconds: [
        "number",
        "null"
      ],
      extra_content: [
        "string",
        "null"
      ]
    }
  },
  Span: {
    required: [
      "kind"
    ],
    fields: {
      kind: {
        enum: [
          "reasoning",
          "text",
          "tool"
        ]
      },
      length: "integer"
    }
  },
  RunningAnswer: {
    required: [
      "generation_id",
      "message_id",
      "attempt",
      "status",
      "seq",
      "after",
      "text",
      "reasoning"
    ],
    fields: {
      generation_id: "string",
      message_id: "string",
      attempt: "integer",
      status: "string",
      seq: "integer",
      after: "integer",
      text: "string",
      reasoning: "string",
      tool_calls: {
        items: {
          ref: "ToolCall"
        }
      },
      layout: {
        items: {
          ref: "Span"
        }
      }
    }
  },
  MessageFrame: {
    required: [
      "type",
      "chat_id",
      "version",
      "message"
    ],
    fields: {
      type: {
        enum: [
          "message"
        ]
      },
      chat_id: "string",
      version: "integer",
      message: {
        ref: "Message"
      }
    }
  },
  GenerationFrame: {
    required: [
      "type",
      "chat_id",
      "generation_id",
      "message_id",
      "attempt",
      "status"
    ],
    fields: {
      type: {
        enum: [
          "generation"
        ]
      },
      chat_id: "string",
      generation_id: "string",
      message_id: "string",
      attempt: "integer",
      status: "string",
      retry_at: [
        "string",
        "null"
      ]
    }
  },
  DeltaFrame: {
    required: [
      "type",
      "chat_id",
      "generation_id",
      "attempt",
      "from",
      "to",
      "kind",
      "text"
    ],
    fields: {
      type: {
        enum: [
          "delta"
        ]
      },
      chat_id: "string",
      generation_id: "string",
      attempt: "integer",
      from: "integer",
      to: "integer",
      kind: {
        enum: [
          "reasoning",
          "text"
        ]
      },
      text: "string",
      tool: [
        {
          ref: "ToolDelta"
        },
        "null"
      ],
      v: "integer"
    }
  },
  ToolDelta: {
    required: [
      "index"
    ],
    fields: {
      index: "integer",
      call: [
        {
          ref: "ToolCall"
        },
        "null"
      ],
      arguments: "string"
    }
  },
  ChatFrame: {
    required: [
      "type",
      "chat_id",
      "version",
      "chat"
    ],
    fields: {
      type: {
        enum: [
          "chat"
        ]
      },
      chat_id: "string",
      version: "integer",
      chat: [
        {
          ref: "Chat"
        },
        "null"
      ]
    }
  },
  ListedFrame: {
    required: [
      "type",
      "chat_id",
      "version",
      "chat"
    ],
    fields: {
      type: {
        enum: [
          "listed"
        ]
      },
      chat_id: "string",
      version: "integer",
      chat: [
        {
          ref: "ChatSummary"
        },
        "null"
      ]
    }
  },
  ChatSummary: {
    required: [
      "id",
      "title",
      "updated_at",
      "version",
      "running"
    ],
    fields: {
      id: "string",
      title: [
        "string",
        "null"
      ],
      updated_at: "string",
      version: "integer",
      running: "boolean"
    }
  },
  RelistFrame: {
    required: [
      "type"
    ],
    fields: {
      type: {
        enum: [
          "relist"
        ]
      },
      within: "number"
    }
  },
  InvitationsFrame: {
    required: [
      "type"
    ],
    fields: {
      type: {
        enum: [
          "invitations"
        ]
      }
    }
  },
  PresenceFrame: {
    required: [
      "type",
      "chat_id",
      "users"
    ],
    fields: {
      type: {
        enum: [
          "presence"
        ]
      },
      chat_id: "string",
      users: {
        items: {
          ref: "PresentUser"
        }
      }
    }
  },
  PresentUser: {
    required: [
      "user_id",
      "state"
    ],
    fields: {
      user_id: "string",
      state: {
        enum: [
          "reading",
          "writing"
        ]
      }
    }
  },
  RejectedFrame: {
    required: [
      "type",
      "chat_id",
      "message_id",
      "error"
    ],
    fields: {
      type: {
        enum: [
          "rejected"
        ]
      },
      chat_id: "string",
      message_id: "string",
      error: {
        ref: "MessageError"
      }
    }
  },
  ErrorFrame: {
    required: [
      "type",
      "code",
      "message"
    ],
    fields: {
      type: {
        enum: [
          "error"
        ]
      },
      code: "string",
      message: "string",
      chat_id: [
        "string",
        "null"
      ]
    }
  },
  Cursor: {
    required: [
      "version"
    ],
    fields: {
      version: "integer",
      generation_id: [
        "string",
        "null"
      ],
      attempt: "integer",
      seq: "integer"
    }
  }
} as const;

/** The schema of each frame of the server, by its `type`. */
export const SERVER_FRAMES = {
  ready: "ReadyFrame",
  snapshot: "SnapshotFrame",
  message: "MessageFrame",
  generation: "GenerationFrame",
  delta: "DeltaFrame",
  chat: "ChatFrame",
  listed: "ListedFrame",
  relist: "RelistFrame",
  invitations: "InvitationsFrame",
  presence: "PresenceFrame",
  rejected: "RejectedFrame",
  error: "ErrorFrame",
} as const;
