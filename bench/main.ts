/**
 * Compares proxies side by side: `npm run bench -- [--all | case… --peers nginx,gangway --rounds 5 --seconds 2]`.
 * `ssh` names the cases of SSH, which have peers of their own.
 *
 * Rounds are short and alternate between the peers, and each is compared with the first peer's measurement of the same
 * round, so that what else happens on the machine weighs on all alike.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { CASES } from "./cases.js";
import { PEERS, type RunningPeer } from "./peers.js";
import { output } from "./process.js";
import { type About, type CaseReport, lines, markdown, reportOf } from "./report.js";
import { SSH_CASES } from "./ssh-cases.js";
import { SSH_PEERS, type SshWay } from "./ssh-peers.js";
import type { Case, Measurement, Peer, Stoppable, Suite } from "./suite.js";
import { createWorld, type World } from "./world.js";

const TUNNEL: Suite<RunningPeer> = { document: "latest.md", ours: ["gangway"], peers: PEERS, cases: CASES };
const SSH: Suite<SshWay> = {
	document: "latest-ssh.md",
	ours: ["passthrough", "gateway"],
	peers: SSH_PEERS,
	cases: SSH_CASES,
};

const { values: flags, positionals } = parseArgs({
	allowPositionals: true,
	options: {
		all: { type: "boolean", default: false },
		peers: { type: "string", default: [...PEERS, ...SSH_PEERS].map(({ name }) => name).join(",") },
		rounds: { type: "string", default: "3" },
		/** Whole ones: wrk knows no others. */
		seconds: { type: "string", default: "1" },
		out: { type: "string", default: "bench/results" },
	},
});
const rounds = Number(flags.rounds);
const seconds = Number(flags.seconds);
const names = [...CASES, ...SSH_CASES].map(({ name }) => name);
/** A case by its name, or all whose names begin so. */
const wants = (name: string) =>
	flags.all ||
	positionals.length === 0 ||
	positionals.some((wanted) => name === wanted || (name.startsWith(wanted) && !names.includes(wanted)));
if (!names.some(wants)) throw new Error(`no such case; there are: ${names.join(", ")}`);

type Running<R> = readonly [Peer<R>, R & Stoppable];

async function startPeers<R>(peers: readonly Peer<R>[], world: World): Promise<Running<R>[]> {
	const wanted = flags.peers.split(",");
	const running: Running<R>[] = [];
	for (const peer of peers.filter(({ name }) => wanted.includes(name))) {
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

async function run<R>(one: Case<R>, peers: readonly Running<R>[], world: World): Promise<CaseReport> {
	const fit = peers.filter(([{ name }]) => !one.without?.includes(name));
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

async function measureFresh<R>(one: Case<R>, peer: Peer<R>, world: World): Promise<Measurement> {
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

async function runSuite<R>({ cases, peers }: Suite<R>, world: World): Promise<CaseReport[]> {
	const reports: CaseReport[] = [];
	const wanted = cases.filter(({ name }) => wants(name));
	const running = wanted.length === 0 ? [] : await startPeers(peers, world);
	try {
		for (const one of wanted) {
			const report = await run(one, running, world);
			reports.push(report);
			console.info(lines(report));
		}
	} finally {
		await Promise.all(running.map(([, peer]) => peer.stop()));
	}
	return reports;
}

async function measureAll(world: World): Promise<[tunnel: CaseReport[], ssh: CaseReport[]]> {
	return [await runSuite(TUNNEL, world), await runSuite(SSH, world)];
}

function writeTables<R>({ document, ours, cases }: Suite<R>, about: About, reports: readonly CaseReport[]): void {
	// Some cases are no full run.
	if (reports.length < cases.length) return;
	const latest = join(flags.out, document);
	writeFileSync(latest, markdown(about, ours, reports));
	console.info(`and, as tables, to ${latest}`);
}

let world: World | undefined;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
	// Boxes outlive their daemon, so they are ended first.
	process.once(signal, () => void Promise.resolve(world?.close()).finally(() => process.exit(130)));
}
world = await createWorld();
const [tunnel, ssh] = await measureAll(world).finally(() => world?.close());
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
writeFileSync(file, `${JSON.stringify({ about, cases: [...tunnel, ...ssh] }, undefined, "\t")}\n`);
console.info(`\nwritten to ${file}`);
writeTables(TUNNEL, about, tunnel);
writeTables(SSH, about, ssh);
