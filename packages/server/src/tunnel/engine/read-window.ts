/** The memory that a connection to a box reads into: the shared slab, and one of its own while a long body flows. */
import type { Slab, Slabs } from "./slabs.js";

export const SHARED = 0;
export const SMALL_OWN = 1;
export const LARGE_OWN = 2;

export class ReadWindow {
	slab: Slab;
	private given = false;

	constructor(private readonly slabs: Slabs) {
		this.slab = slabs.shared;
	}

	/** The slab, unless it is everybody's. */
	get own(): Slab | undefined {
		return this.slab === this.slabs.shared ? undefined : this.slab;
	}

	/** What the next read goes into. Asked after each read; undefined, which Node takes for "the same", is cheaper. */
	next(wants: number): Uint8Array {
		const { slab, slabs } = this;
		if (wants === SHARED && slab === slabs.shared && this.given) return SAME;
		if (slab !== slabs.shared && (wants === SHARED || slab.inFlight > 0)) this.release();
		if (this.slab === slabs.shared && wants !== SHARED) {
			this.slab = wants === LARGE_OWN ? slabs.takeLarge() : slabs.takeSmall();
		}
		if (this.slab === slab && this.given) return SAME;
		this.given = true;
		return this.slab.window;
	}

	release(): void {
		if (this.slab === this.slabs.shared) return;
		this.slab.release();
		this.slab = this.slabs.shared;
	}
}

const SAME = undefined as unknown as Uint8Array;
