/** What all connections of one engine share. */
import { ResponseHead } from "./codec/response-head.js";
import { refusal } from "./local.js";
import {
	DEFAULT_LIMITS,
	DEFAULT_TIMEOUTS,
	type EngineOptions,
	type Limits,
	type RequestRecord,
	type Timeouts,
} from "./options.js";
import { Pool } from "./pool.js";
import { Probe } from "./probe.js";
import { Slabs } from "./slabs.js";
import { Wheel } from "./wheel.js";

export class Core {
	readonly timeouts: Timeouts;
	readonly limits: Limits;
	readonly wheel: Wheel;
	readonly probe: Probe;
	readonly slabs = new Slabs();
	readonly pool: Pool;
	/** Parsed into by every connection to a box, used up within the same event. */
	readonly responseHead = new ResponseHead();
	closing = false;
	readonly decide: EngineOptions["decide"];
	readonly refuse: NonNullable<EngineOptions["refuse"]>;
	readonly tooMany: NonNullable<EngineOptions["tooMany"]>;
	readonly exempt: NonNullable<EngineOptions["exempt"]>;
	readonly finished: ((record: RequestRecord) => void) | undefined;
	readonly unexpected: (error: unknown) => void;

	constructor(options: EngineOptions) {
		this.timeouts = Object.freeze({ ...DEFAULT_TIMEOUTS, ...options.timeouts });
		this.limits = Object.freeze({ ...DEFAULT_LIMITS, ...options.limits });
		if (this.limits.headFields > 1024) throw new RangeError("limits.headFields must be at most 1024");
		this.wheel = new Wheel(this.timeouts.tick);
		this.probe = new Probe(this.wheel);
		this.pool = new Pool(this);
		this.decide = options.decide;
		this.refuse = options.refuse ?? refusal;
		this.tooMany = options.tooMany ?? ((excess) => refusal(excess === "clients" ? 503 : 429));
		this.exempt = options.exempt ?? (() => false);
		this.finished = options.finished;
		this.unexpected = options.unexpected ?? (() => {});
	}
}
