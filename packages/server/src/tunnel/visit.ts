import type { TunnelTarget } from "../devboxes/index.js";
import type { LocalResponse, RequestInfo } from "./decision.js";
import type { Sender } from "./forwarding.js";
import type { Admission } from "./limits.js";
import type { Notice } from "./notices.js";

/** A request as it came in. */
export interface Arrival {
	readonly request: RequestInfo;
	readonly requestId: string;
	readonly sender: Sender;
	readonly admission: Admission;
	/** It has been held before, and may be held until then: `performance.now()`. */
	readonly heldUntilMs?: number | undefined;
}

/** A request that has found its tunnel, on its way through the steps of `decide`. */
export interface Visit extends Arrival {
	readonly target: TunnelTarget;
	readonly port: number;
	/** The routing field that was spent on the way here, lower case. */
	readonly routedBy?: string | undefined;
	/** Gangway's own answer to this request, at any time; `form` goes into the page of a browser. */
	say(this: void, notice: Notice, form?: string): LocalResponse;
}

export type MaybePromise<T> = T | Promise<T>;

/** At once where there is nothing to wait for: that is nearly always, and on the hottest of paths. */
export function after<T, U>(value: MaybePromise<T>, next: (value: T) => MaybePromise<U>): MaybePromise<U> {
	return value instanceof Promise ? value.then(next) : next(value);
}
