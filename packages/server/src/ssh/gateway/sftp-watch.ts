/** draft-ietf-secsh-filexfer-02, section 3 and 6.3: what OpenSSH speaks. */
const openRequest = 3;
const writing = 0x02 | 0x04 | 0x08 | 0x10;
const lengthBytes = 4;
/** Of a request's head, until the name and the flags of an OPEN are there. OpenSSH's own names have at most 4096 bytes. */
const maxHead = 8_192;
const maxFiles = 100;

/**
 * Sees which files a client of sftp opens for writing, in the bytes that it sends. Only looks: whatever comes, the box's
 * server decides what it means. Holds no more than the head of one request.
 */
export class SftpWatch {
	/** Names as the client wrote them, each once, in their order; no more than a hundred. */
	readonly written = new Set<string>();
	#head: Buffer = Buffer.alloc(0);
	/** Bytes of the present request that are of no interest any more. */
	#skip = 0;

	push(chunk: Buffer): void {
		let rest = chunk;
		while (rest.length > 0) {
			if (this.#skip > 0) {
				const skipped = Math.min(this.#skip, rest.length);
				this.#skip -= skipped;
				rest = rest.subarray(skipped);
				continue;
			}
			this.#head = this.#head.length === 0 ? rest : Buffer.concat([this.#head, rest]);
			rest = this.#readHead();
		}
	}

	/** Returns what follows the request whose head is complete; without one, keeps the bytes until there are more. */
	#readHead(): Buffer {
		const head = this.#head;
		const none = head.subarray(head.length);
		if (head.length <= lengthBytes) return this.#keep(none);
		const end = lengthBytes + head.readUInt32BE(0);
		if (head[lengthBytes] === openRequest && end <= maxHead) {
			if (head.length < end) return this.#keep(none);
			this.#noteOpen(head.subarray(lengthBytes + 1, end));
		}
		this.#head = Buffer.alloc(0);
		this.#skip = Math.max(0, end - head.length);
		return head.subarray(Math.min(end, head.length));
	}

	/** The chunk's bytes are only valid during the call. */
	#keep(none: Buffer): Buffer {
		this.#head = Buffer.from(this.#head);
		return none;
	}

	/** uint32 id, string name, uint32 flags. */
	#noteOpen(request: Buffer): void {
		if (request.length < 12) return;
		const nameEnd = 8 + request.readUInt32BE(4);
		if (nameEnd + 4 > request.length || this.written.size >= maxFiles) return;
		if ((request.readUInt32BE(nameEnd) & writing) !== 0) this.written.add(request.toString("utf8", 8, nameEnd));
	}
}
