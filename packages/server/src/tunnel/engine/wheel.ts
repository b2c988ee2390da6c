/** Later than any tick; still a small integer, which engines of JavaScript store in place. */
export const NEVER = 0x3fff_ffff;

/**
 * One timer for all connections. Setting a deadline is an assignment most of the time: an entry stays in its slot while
 * its deadline moves away, and is put into a later slot when the wheel gets there.
 */
export abstract class Timed {
	/** The tick at which `expired` is called. Set through the wheel. */
	deadline = NEVER;
	/** The tick of the slot it hangs in; -1 for none. */
	hangsAt = -1;
	before: Timed | undefined;
	after: Timed | undefined;

	abstract expired(): void;
}

const SLOTS = 256;

export class Wheel {
	/** The tick that it is now. */
	now = 0;
	private readonly slots: (Timed | undefined)[] = new Array(SLOTS).fill(undefined);
	private readonly began = performance.now();
	private timer: NodeJS.Timeout | undefined;
	private closed = false;

	constructor(private readonly tickMs: number) {}

	/** `ms` from now, rounded up to whole ticks; 0 for never. */
	set(entry: Timed, ms: number): void {
		if (ms === 0) {
			entry.deadline = NEVER;
			return;
		}
		if (this.timer === undefined) this.start();
		const deadline = this.now + Math.ceil(ms / this.tickMs) + 1;
		entry.deadline = deadline;
		if (entry.hangsAt >= 0 && entry.hangsAt <= deadline) return;
		if (entry.hangsAt >= 0) this.unhang(entry);
		this.hang(entry);
	}

	remove(entry: Timed): void {
		if (entry.hangsAt >= 0) this.unhang(entry);
		entry.deadline = NEVER;
	}

	close(): void {
		this.closed = true;
		clearInterval(this.timer);
	}

	private start(): void {
		if (this.closed) return;
		this.now = this.clock();
		this.timer = setInterval(() => this.advance(this.clock()), this.tickMs);
		this.timer.unref();
	}

	private clock(): number {
		return Math.floor((performance.now() - this.began) / this.tickMs);
	}

	private hang(entry: Timed): void {
		// Never into the slot that is being turned: SLOTS - 1 ahead at most.
		const at = Math.min(entry.deadline, this.now + SLOTS - 1);
		const first = this.slots[at % SLOTS];
		entry.hangsAt = at;
		entry.before = undefined;
		entry.after = first;
		if (first !== undefined) first.before = entry;
		this.slots[at % SLOTS] = entry;
	}

	private unhang(entry: Timed): void {
		if (entry.before !== undefined) entry.before.after = entry.after;
		else this.slots[entry.hangsAt % SLOTS] = entry.after;
		if (entry.after !== undefined) entry.after.before = entry.before;
		entry.before = entry.after = undefined;
		entry.hangsAt = -1;
	}

	private advance(to: number): void {
		while (this.now < to) {
			this.now++;
			for (let entry = this.slots[this.now % SLOTS]; entry !== undefined; entry = this.slots[this.now % SLOTS]) {
				this.unhang(entry);
				if (entry.deadline <= this.now) {
					entry.deadline = NEVER;
					entry.expired();
				} else if (entry.deadline !== NEVER) this.hang(entry);
			}
		}
	}
}
