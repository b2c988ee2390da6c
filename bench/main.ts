/**
 * Compares proxies side by side: `npm run bench [-- case… --peers nginx,engine --rounds 5 --seconds 2]`.
 *
 * Rounds are short and alternate between the peers, and each is compared with the first peer's measurement of the same
 * round, so that what else happens on the machine weighs on all alike. Medians are printed with the smallest and largest ratio.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { CASES, type Case, type Measurement } from "./cases.js";
import { PEERS, type Peer, type RunningPeer } from "./peers.js";
import { output } from "./process.js";
import { median, spread } from "./statistics.js";
import { createWorld, type World } from "./world.js";

interface Row {
	readonly peer: string;
	readonly median: number;
	readonly values: readonly number[];
	/** To the first peer, round by round: median, smallest, largest. */
	readonly ratio: readonly [median: number, low: number, high: number] | undefined;
	readonly cpuMicros: number | undefined;
	readonly errors: number;
	readonly more: Readonly<Record<string, number>> | undefined;
}

const { values: flags, positionals } = parseArgs({
	allowPositionals: true,
	options: {
		peers: { type: "string", default: PEERS.map(({ name }) => name).join(",") },
		rounds: { type: "string", default: "5" },
		seconds: { type: "string", default: "2" },
		out: { type: "string", default: "bench/results" },
	},
});
const rounds = Number(flags.rounds);
const seconds = Number(flags.seconds);
/** A case by its name, or all whose names begin so. */
const wants = (name: string) =>
	positionals.some(
		(wanted) => name === wanted || (name.startsWith(wanted) && !CASES.some((one) => one.name === wanted)),
	);
const cases = positionals.length === 0 ? CASES : CASES.filter(({ name }) => wants(name));
if (cases.length === 0) throw new Error(`no such case; there are: ${CASES.map(({ name }) => name).join(", ")}`);

async function startPeers(world: World): Promise<[Peer, RunningPeer][]> {
	const wanted = flags.peers.split(",");
	const running: [Peer, RunningPeer][] = [];
	for (const peer of PEERS.filter(({ name }) => wanted.includes(name))) {
		try {
			const started = await peer.start(world);
			if (started === undefined) console.info(`${peer.name}: not installed, left out`);
			else running.push([peer, started]);
		} catch (error) {
			console.info(`${peer.name}: left out: ${error instanceof Error ? error.message.split("\n")[0] : error}`);
		}
	}
	return running;
}

async function run(one: Case, peers: readonly [Peer, RunningPeer][], world: World): Promise<Row[]> {
	const results = new Map<string, Measurement[]>(peers.map(([{ name }]) => [name, []]));
	// Memory grows and stays: one round is all that a process can give.
	const times = one.unit.startsWith("KiB") ? 1 : rounds;
	if (times > 1)
		for (const [, running] of peers) await one.measure(running, world, Math.min(1, seconds)).catch(() => {});
	for (let round = 0; round < times; round++) {
		for (const [peer, running] of round % 2 === 0 ? peers : [...peers].reverse()) {
			try {
				results
					.get(peer.name)!
					.push(await (one.fresh === true ? measureFresh(one, peer, world) : one.measure(running, world, seconds)));
			} catch (error) {
				console.info(
					`  ${peer.name}: ${one.name} failed: ${error instanceof Error ? error.message.split("\n")[0] : error}`,
				);
				results.get(peer.name)!.push({ value: Number.NaN, cpuMicros: undefined, errors: 1 });
			}
		}
	}
	const base = results.get(peers[0]![0].name)!;
	return peers.map(([{ name }], index) => summarise(name, results.get(name)!, index === 0 ? undefined : base));
}

async function measureFresh(one: Case, peer: Peer, world: World): Promise<Measurement> {
	const own = await peer.start(world);
	if (own === undefined) throw new Error("not installed");
	try {
		return await one.measure(own, world, seconds);
	} finally {
		await own.stop();
	}
}

function summarise(peer: string, measured: readonly Measurement[], base: readonly Measurement[] | undefined): Row {
	const values = measured.map(({ value }) => value);
	const ratios = base === undefined ? [] : values.map((value, i) => value / base[i]!.value).filter(Number.isFinite);
	const cpu = measured.map(({ cpuMicros }) => cpuMicros).filter((micros) => micros !== undefined);
	const first = measured[0]?.more;
	const names = first === undefined ? [] : Object.keys(first);
	const more = names.map((name) => [name, median(measured.map((one) => one.more?.[name] ?? Number.NaN))]);
	return {
		peer,
		median: median(values),
		values,
		ratio: ratios.length === 0 ? undefined : [median(ratios), ...spread(ratios)],
		cpuMicros: cpu.length === 0 ? undefined : median(cpu),
		errors: measured.reduce((sum, { errors }) => sum + errors, 0),
		more: first === undefined ? undefined : Object.fromEntries(more),
	};
}

function print(one: Case, rows: readonly Row[]): void {
	console.info(`\n${one.name} (${one.unit}, ${one.moreIsBetter ? "more" : "less"} is better)`);
	for (const row of rows) {
		const figure = row.median >= 1000 ? row.median.toFixed(0) : row.median.toPrecision(3);
		const ratio =
			row.ratio === undefined
				? "1"
				: `${row.ratio[0].toFixed(2)} (${row.ratio[1].toFixed(2)}–${row.ratio[2].toFixed(2)})`;
		const cpu = row.cpuMicros === undefined ? "" : `${row.cpuMicros.toFixed(1)} µs CPU`;
		const more = Object.entries(row.more ?? {}).map(([name, value]) => `${name} ${value.toFixed(2)}`);
		const errors = row.errors > 0 ? `${row.errors} errors` : "";
		console.info(
			`  ${row.peer.padEnd(14)}${figure.padStart(9)}   ${ratio.padEnd(20)}${cpu.padStart(14)}  ${more.join(" ")} ${errors}`,
		);
	}
}

const world = await createWorld();
const peers = await startPeers(world);
const report: Record<string, { unit: string; rows: Row[] }> = {};
try {
	for (const one of cases) {
		const rows = await run(one, peers, world);
		report[one.name] = { unit: one.unit, rows };
		print(one, rows);
	}
} finally {
	await Promise.all(peers.map(([, running]) => running.stop()));
	await world.close();
}
const commit = await output("git", ["rev-parse", "--short", "HEAD"]).catch(() => "unknown");
const about = {
	when: new Date().toISOString(),
	commit: commit.trim(),
	node: process.version,
	cpu: cpus()[0]?.model,
	cores: cpus().length,
	rounds,
	seconds,
};
mkdirSync(flags.out, { recursive: true });
const file = join(flags.out, `${about.when.replaceAll(":", "-").slice(0, 19)}.json`);
writeFileSync(file, `${JSON.stringify({ about, report }, undefined, "\t")}\n`);
console.info(`\nwritten to ${file}`);
