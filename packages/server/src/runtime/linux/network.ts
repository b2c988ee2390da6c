import { randomInt } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { RuntimeError } from "../../errors.js";
import { ifExists, namesIn, readJson, writeJson } from "./files.js";
import { firewallRules } from "./firewall.js";
import { type Block, blockBits, formatAddress, formatBlock, overlap, parseBlock, pickBlock } from "./network-range.js";
import { run } from "./run.js";

interface Route {
	readonly dst: string;
	readonly dev?: string;
	readonly type?: string;
	readonly metric?: number;
}

/** The commands that make a box's link, for `ip -batch` on either side. */
export interface LinkCommands {
	readonly box: string;
	readonly host: string;
}

/**
 * The network of one installation: a routed link of its own per box instead of a bridge, so boxes share no layer 2 on which
 * one could answer for another. The box's end lives and dies with its network namespace, and the host's end with it.
 */
export class Network {
	/** Distinguishes the installations of a host: part of every name they give to something of the host. */
	readonly tag: string;
	#block: Block;
	readonly #file: string;
	#mtu = 1500;

	private constructor(file: string, tag: string, block: Block) {
		this.#file = file;
		this.tag = tag;
		this.#block = block;
	}

	/** Reads the installation's network from `directory`, or picks one at its first start. */
	static async load(directory: string): Promise<Network> {
		const file = join(directory, "network.json");
		const saved = (await readJson(file)) as { tag?: unknown; block?: unknown } | undefined;
		const block = typeof saved?.block === "string" ? parseBlock(saved.block) : undefined;
		if (typeof saved?.tag === "string" && /^[a-z0-9]{4}$/.test(saved.tag) && block?.bits === blockBits)
			return new Network(file, saved.tag, block);
		const tag = randomInt(36 ** 4)
			.toString(36)
			.padStart(4, "0");
		const network = new Network(file, tag, freeBlock(await readRoutes()));
		await network.#save();
		return network;
	}

	get prefix(): string {
		return `gw${this.tag}-`;
	}

	/** Interface of the host that leads to the box with this number. */
	interfaceOf(host: number): string {
		return `${this.prefix}${host}`;
	}

	addressOf(host: number): string {
		return formatAddress(this.#block.base + host);
	}

	get #gateway(): string {
		return this.addressOf(1);
	}

	get #table(): string {
		return `gangway_${this.tag}`;
	}

	/** Another network may have appeared where ours was while nothing of ours ran. With running boxes it is too late to move. */
	async avoidConflicts(boxesRun: boolean): Promise<"ok" | "conflict"> {
		const foreign = (await readRoutes()).filter((route) => !this.#isOwn(route));
		if (!blocksOf(foreign).some((block) => overlap(block, this.#block))) return "ok";
		if (boxesRun) return "conflict";
		await this.#removeReserve(await readRoutes());
		this.#block = freeBlock(foreign);
		await this.#save();
		return "ok";
	}

	async open(edgePorts: readonly number[]): Promise<void> {
		await this.applyFirewall(edgePorts);
		const way = (await readRoutes()).find((route) => route.dst === "default" && route.dev);
		if (way?.dev) {
			const mtu = Number(await ifExists(readFile(`/sys/class/net/${way.dev}/mtu`, "utf8")));
			// Larger packets than the way out takes would depend on ICMP, which many networks lose.
			if (mtu >= 1280) this.#mtu = Math.min(1500, mtu);
			await enableForwarding();
		}
		// The address of a stopped box fails at once instead of leaving by the default route, perhaps to somebody else's machine.
		await run("ip", ["route", "replace", ...this.#reserve]);
	}

	async applyFirewall(edgePorts: readonly number[]): Promise<void> {
		const rules = { table: this.#table, prefix: this.prefix, block: formatBlock(this.#block), edgePorts };
		await run("nft", ["-f", "-"], { input: firewallRules(rules) });
	}

	/** Takes everything back from the host. Only when no box runs. */
	async close(): Promise<void> {
		await run("nft", ["-f", "-"], { input: `table inet ${this.#table}\ndelete table inet ${this.#table}\n` });
		await this.#removeReserve(await readRoutes());
	}

	/** `/proc/self/fd/9` is the host's network namespace, in the launcher. */
	linkCommands(host: number): LinkCommands {
		const name = this.interfaceOf(host);
		const address = this.addressOf(host);
		const box = [
			"link set lo up",
			`link add name eth0 mtu ${this.#mtu} type veth peer name ${name} mtu ${this.#mtu} netns /proc/self/fd/9`,
			"link set eth0 addrgenmode none",
			`address add ${address}/32 dev eth0`,
			"link set eth0 up",
			`route add ${this.#gateway} dev eth0 scope link`,
			`route add default via ${this.#gateway} dev eth0`,
		];
		const hostSide = [
			`link set ${name} addrgenmode none`,
			`address add ${this.#gateway} peer ${address}/32 dev ${name}`,
			`link set ${name} up`,
		];
		return { box: box.join("\n"), host: hostSide.join("\n") };
	}

	/** Numbers of the boxes that have an interface on this host. */
	async hosts(): Promise<number[]> {
		const names = (await namesIn("/sys/class/net")).filter((name) => name.startsWith(this.prefix));
		return names.map((name) => Number(name.slice(this.prefix.length)));
	}

	/** Removes a box's interface, and waits for the kernel to do so when it is already at it. */
	async removeLink(host: number): Promise<void> {
		const name = this.interfaceOf(host);
		for (let attempt = 0; (await this.hosts()).includes(host); attempt++) {
			try {
				await run("ip", ["link", "delete", name]);
			} catch (error) {
				if (attempt > 50) throw error;
				await delay(5);
			}
		}
	}

	/** The metric says whose it is: the same block may have been picked by an installation that ran while ours did not. */
	get #metric(): number {
		return 4096 + Number.parseInt(this.tag, 36);
	}

	get #reserve(): string[] {
		return ["unreachable", formatBlock(this.#block), "metric", String(this.#metric)];
	}

	#isReserve(route: Route): boolean {
		return route.dst === formatBlock(this.#block) && route.type === "unreachable" && route.metric === this.#metric;
	}

	async #removeReserve(routes: readonly Route[]): Promise<void> {
		if (routes.some((route) => this.#isReserve(route))) await run("ip", ["route", "delete", ...this.#reserve]);
	}

	#isOwn(route: Route): boolean {
		return route.dev?.startsWith(this.prefix) || this.#isReserve(route);
	}

	async #save(): Promise<void> {
		await writeJson(this.#file, { tag: this.tag, block: formatBlock(this.#block) }, { durable: true });
	}
}

async function readRoutes(): Promise<Route[]> {
	return JSON.parse((await run("ip", ["-4", "-json", "route", "show", "table", "all"])) || "[]") as Route[];
}

function blocksOf(routes: readonly Route[]): Block[] {
	// A default route covers everything and takes nothing.
	return routes
		.map((route) => parseBlock(route.dst))
		.filter((block) => block !== undefined && block.bits > 0) as Block[];
}

function freeBlock(routes: readonly Route[]): Block {
	const block = pickBlock(blocksOf(routes), randomInt(2 ** 32) / 2 ** 32);
	if (!block) throw new RuntimeError("unsupported_host", "this host's routes leave no private network for devboxes");
	return block;
}

/** Without it the kernel drops what boxes send to the outside. The firewall is in place by then. */
async function enableForwarding(): Promise<void> {
	const path = "/proc/sys/net/ipv4/ip_forward";
	if ((await readFile(path, "utf8")).trim() === "0") await writeFile(path, "1");
}
