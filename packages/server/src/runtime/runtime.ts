/**
 * What runs devboxes. A runtime knows nothing of keys, tunnels or HTTP: it makes a disk, starts and stops a process
 * tree on it, and tells the address. Everything else goes over SSH (the only door into a devbox).
 *
 * Every call is idempotent and safe to repeat after a crash of the daemon: boxes outlive it.
 */
export interface Runtime {
	readonly name: RuntimeName;

	/** Prepares the host (networks, firewall, cgroups) and adopts what an earlier daemon left. Throws `RuntimeError` when this host cannot run boxes. */
	open(): Promise<void>;

	/** Lets go of running boxes without stopping them; takes back from the host what no running box needs. */
	close(): Promise<void>;

	/** TCP ports of this host that boxes may reach: the edge's. Until it is called, none. */
	setEdgePorts(ports: readonly number[]): Promise<void>;

	/** Makes the box's disk. Nothing runs yet. */
	create(spec: BoxSpec): Promise<void>;

	/**
	 * Starts the box: `/run/gangway` (a fresh tmpfs, root's) receives `boot.files`, then `/bin/sh /run/gangway/init` runs as
	 * PID 1 and root. Its stdout and stderr are the console. Resolves as soon as the process tree runs.
	 * Starting a running box is an error (`RuntimeError`, code `already_running`).
	 */
	start(spec: BoxSpec, boot: Boot): Promise<Started>;

	/** Gives a running box another version of one of its `boot.files`, in one step; a box that does not run is left alone. */
	replaceBootFile(id: string, file: BootFile): Promise<void>;

	/** SIGTERM to PID 1, SIGKILL to what is left after `graceMs` (0: at once). Resolves when nothing of the box runs; a stopped or unknown box is fine. */
	stop(id: string, options: { readonly graceMs: number }): Promise<void>;

	/** Stops the box and removes it with its disk. An unknown box is fine. */
	destroy(id: string): Promise<void>;

	/** What is there now, as the host says it. */
	inspect(id: string): Promise<BoxState>;

	/** Ids of all boxes that have anything on this host: a disk, a process, a network. */
	list(): Promise<string[]>;

	/**
	 * Follows the console of the box's present run, from byte `fromOffset` of everything it ever printed (the console is one
	 * stream over all runs). `exited` resolves when the run has ended and `onOutput` has received its last byte.
	 * Where `onOutput` returns a promise, the next chunk waits for it: a box prints faster than anything can be written down.
	 */
	attach(id: string, fromOffset: number, onOutput: (chunk: Buffer, endOffset: number) => unknown): Attachment;
}

export type RuntimeName = "linux" | "docker" | "kubernetes";

export interface BoxSpec {
	readonly id: string;
	/** The name inside the box (`hostname`): a DNS label. */
	readonly hostname: string;
	readonly limits: {
		/** CPU cores, fractions allowed. */
		readonly cpus: number;
		readonly memoryBytes: number;
		readonly maxProcesses: number;
	};
}

export interface Boot {
	readonly files: readonly BootFile[];
}

export interface BootFile {
	/** Relative to `/run/gangway`, `/`-separated, no `..`. */
	readonly path: string;
	/** Permission bits; owner is always root. */
	readonly mode: number;
	readonly content: string | Uint8Array;
}

export interface Started {
	/** IPv4 address on which this host reaches every port of the box. */
	readonly address: string;
}

export type BoxState =
	| { readonly kind: "absent" }
	| { readonly kind: "stopped" }
	| { readonly kind: "running"; readonly address: string };

export interface Attachment {
	readonly exited: Promise<Exit>;
	/** Stops following; `exited` then never settles. */
	detach(): void;
}

export interface Exit {
	/** The kernel killed a process of the box for its memory limit during this run. */
	readonly outOfMemory: boolean;
}
