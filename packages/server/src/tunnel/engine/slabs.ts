/**
 * Pieces of memory for bodies, used again and again. A slab is read into at an offset, so that the framing of a chunk
 * (or a whole head) fits before the data and a last chunk after it, and all leaves in one write without a copy.
 */

export const HEADROOM = 64;
export const TAILROOM = 16;

const SMALL_BYTES = 64 * 1024;
const LARGE_BYTES = 256 * 1024;
/** Slabs kept while unused: 4 MiB small, 8 MiB large. */
const SMALL_KEPT = 64;
const LARGE_KEPT = 32;

export class Slab {
	readonly bytes: Buffer;
	/** What a socket reads into. */
	readonly window: Buffer;
	/** Writes that may still read from it. */
	inFlight = 0;
	/** Some connection reads into it. */
	held = true;
	/** To be given as the callback of a write, after `inFlight` was counted up. */
	readonly written: () => void;

	constructor(size: number, shelf: Slab[], most: number) {
		this.bytes = Buffer.allocUnsafeSlow(size + HEADROOM + TAILROOM);
		this.window = this.bytes.subarray(HEADROOM, HEADROOM + size);
		this.written = () => {
			this.inFlight--;
			this.shelve(shelf, most);
		};
		this.release = () => {
			this.held = false;
			this.shelve(shelf, most);
		};
	}

	/** The holder is done with it; it goes back when the last write is. */
	readonly release: () => void;

	private shelve(shelf: Slab[], most: number): void {
		if (!this.held && this.inFlight === 0 && shelf.length < most) {
			shelf.push(this);
			this.held = true;
		}
	}
}

export class Slabs {
	/**
	 * What every connection to a box reads into until a long body shows. It belongs to nobody: what is read into it is
	 * copied or handled before the next event.
	 */
	readonly shared = new Slab(SMALL_BYTES, [], 0);
	private readonly small: Slab[] = [];
	private readonly large: Slab[] = [];

	takeSmall(): Slab {
		return this.small.pop() ?? new Slab(SMALL_BYTES, this.small, SMALL_KEPT);
	}

	takeLarge(): Slab {
		return this.large.pop() ?? new Slab(LARGE_BYTES, this.large, LARGE_KEPT);
	}
}
