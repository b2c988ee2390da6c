import { monotonicFactory } from "ulid";

const nextUlid = monotonicFactory();

/** The kind, `_` and a ULID in lower case: later ids sort after earlier ones. */
export function newId(kind: "usr" | "team" | "key" | "sshk"): string {
	return `${kind}_${nextUlid().toLowerCase()}`;
}
