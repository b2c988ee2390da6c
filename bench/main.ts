/**
 * Compares proxies side by side: `npm run bench -- [--all | case… --peers nginx,gangway --rounds 5 --seconds 2]`.
 *
 * Rounds are short and alternate between the peers, and each is compared with the first peer's measurement of the same
 * round, so that what else happens on the machine weighs on all alike.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { CASES, type Case, type Measurement } from "./cases.js";
import { PEERS, type Peer, type RunningPeer } from "./peers.js";
import { output } from "./process.js";
import { type About, type CaseReport, lines, markdown, reportOf } from "./report.js";
import { createWorld, type World } from "./world.js";

const { values: flags, positionals } = parseArgs({
	allowPositionals: true,
	options: {
		all: { type: "boolean", default: false },
		peers: { type: "string", default: PEERS.map(({ name }) => name).join(",") },
		rounds: { type: "string", default: "3" },
		/** Whole ones: wrk knows no others. */
		seconds: { type: "string", default: "1" },
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
const everything = flags.all || positionals.length === 0;
const cases = everything ? CASES : CASES.filter(({ name }) => wants(name));
if (cases.length === 0) throw new Error(`no such case; there are: ${CASES.map(({ name }) => name).join(", ")}`);

type Running = readonly [Peer, RunningPeer];

async function startPeers(world: World): Promise<Running[]> {
	const wanted = flags.peers.split(",");
	const running: Running[] = [];
	for (const peer of PEERS.filter(({ name }) => wanted.includes(name))) {
		try {
			const started = await peer.start(world);
			if (started === undefined) console.info(`${peer.name}: not installed, left out`);
			else running.push([peer, started]);
		} catch (error) {
			console.info(`${peer.name}: left out: ${firstLine(error)}`);
		}
	}
	return running;
}

async function run(one: Case, peers: readonly Running[], world: World): Promise<CaseReport> {
	const fit = one.notForPipes === true ? peers.filter(([{ pipe }]) => pipe !== true) : peers;
	const results = new Map<string, Measurement[]>(fit.map(([{ name }]) => [name, []]));
	if (one.fresh !== true) for (const [, running] of fit) await one.measure(running, world, seconds).catch(() => {});
	for (let round = 0; round < (one.fresh === true ? 1 : rounds); round++) {
		for (const [peer, running] of round % 2 === 0 ? fit : fit.toReversed()) {
			const measured = one.fresh === true ? measureFresh(one, peer, world) : one.measure(running, world, seconds);
			const result = await measured.catch((error) => {
				console.info(`  ${peer.name}: ${one.name} failed: ${firstLine(error)}`);
				return { value: Number.NaN, cpuMicros: undefined, errors: 1 };
			});
			results.get(peer.name)!.push(result);
		}
	}
	return reportOf(one, results);
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

function firstLine(error: unknown): string {
	return String(error instanceof Error ? error.message : error).split("\n")[0] ?? "";
}

async function measureAll(): Promise<CaseReport[]> {
	let world: World | undefined;
	for (const signal of ["SIGINT", "SIGTERM"] as const) {
		// Boxes outlive their daemon, so they are ended first.
		process.once(signal, () => void Promise.resolve(world?.close()).finally(() => process.exit(130)));
	}
	world = await createWorld();
	const peers = await startPeers(world);
	const reports: CaseReport[] = [];
	try {
		for (const one of cases) {
			const report = await run(one, peers, world);
			reports.push(report);
			console.info(lines(report));
		}
	} finally {
		await Promise.all(peers.map(([, running]) => running.stop()));
		await world.close();
	}
	return reports;
}

const reports = await measureAll();
const commit = await output("git", ["rev-parse", "--short", "HEAD"]).catch(() => "unknown");
const about: About = {
	when: new Date().toISOString(),
	commit: commit.trim(),
	node: process.version,
	cpu: cpus()[0]?.model ?? "unknown CPU",
	cores: cpus().length,
	rounds,
	seconds,
};
mkdirSync(flags.out, { recursive: true });
const file = join(flags.out, `${about.when.replaceAll(":", "-").slice(0, 19)}.json`);
writeFileSync(file, `${JSON.stringify({ about, cases: reports }, undefined, "\t")}\n`);
console.info(`\nwritten to ${file}`);
const latest = join(flags.out, "latest.md");
// Some cases are no full run.
if (everything) writeFileSync(latest, markdown(about, reports));
if (everything) console.info(`and, as tables, to ${latest}`);
