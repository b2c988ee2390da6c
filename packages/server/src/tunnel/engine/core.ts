/** What all connections of one engine share. */
import { ResponseHead } from "./codec/response-head.js";
import {
	DEFAULT_LIMITS,
	DEFAULT_TIMEOUTS,
	type EngineOptions,
	type Limits,
	type RequestRecord,
	type Timeouts,
} from "./options.js";
import { Pool } from "./pool.js";
import { Slabs } from "./slabs.js";
import { Wheel } from "./wheel.js";

export class Core {
	readonly timeouts: Timeouts;
	readonly limits: Limits;
	readonly wheel: Wheel;
	readonly slabs = new Slabs();
	readonly pool: Pool;
	/** Parsed into by every connection to a box, used up within the same event. */
	readonly responseHead = new ResponseHead();
	closing = false;
	readonly decide: EngineOptions["decide"];
	readonly finished: ((record: RequestRecord) => void) | undefined;
	readonly unexpected: (error: unknown) => void;

	constructor(options: EngineOptions) {
		this.timeouts = Object.freeze({ ...DEFAULT_TIMEOUTS, ...options.timeouts });
		this.limits = Object.freeze({ ...DEFAULT_LIMITS, ...options.limits });
		if (this.limits.headFields > 1024) throw new RangeError("limits.headFields must be at most 1024");
		this.wheel = new Wheel(this.timeouts.tick);
		this.pool = new Pool(this);
		this.decide = options.decide;
		this.finished = options.finished;
		this.unexpected = options.unexpected ?? (() => {});
	}
}
