/** What was measured, as figures to keep, lines to watch and tables to read. */
import { differenceOf, median, type Ratio, ratioOf } from "./statistics.js";
import type { Figure, Goal, Measurement } from "./suite.js";

export interface About {
	readonly when: string;
	readonly commit: string;
	readonly node: string;
	readonly cpu: string;
	readonly cores: number;
	readonly rounds: number;
	readonly seconds: number;
}

export interface Row {
	readonly peer: string;
	readonly median: number;
	/** One per round. */
	readonly values: readonly number[];
	/** To the first peer, round by round. */
	readonly ratio: Ratio | undefined;
	readonly cpuMicros: number | undefined;
	readonly errors: number;
	readonly more: Readonly<Record<string, number>> | undefined;
}

export interface CaseReport {
	readonly name: string;
	readonly unit: string;
	readonly rows: readonly Row[];
	readonly goals: readonly GoalReport[];
}

interface GoalReport {
	readonly of: string;
	readonly text: string;
	readonly reached: boolean;
}

/** `measured`: by peer, one measurement per round; the first peer is what the others are compared with. */
export function reportOf(one: Figure, measured: ReadonlyMap<string, readonly Measurement[]>): CaseReport {
	const values = new Map([...measured].map(([peer, rounds]) => [peer, rounds.map(({ value }) => value)]));
	const [first = []] = values.values();
	const rows = [...measured].map(([peer, rounds]): Row => {
		const own = values.get(peer)!;
		const cpu = rounds.map(({ cpuMicros }) => cpuMicros).filter((micros) => micros !== undefined);
		const names = Object.keys(rounds.find(({ more }) => more !== undefined)?.more ?? {});
		return {
			peer,
			median: median(own.filter(Number.isFinite)),
			values: own,
			ratio: own === first ? undefined : ratioOf(own, first),
			cpuMicros: cpu.length === 0 ? undefined : median(cpu),
			errors: rounds.reduce((sum, { errors }) => sum + errors, 0),
			more: names.length === 0 ? undefined : Object.fromEntries(names.map((name) => [name, medianOf(rounds, name)])),
		};
	});
	const goals = one.goals.map((goal) => judged(one, goal, values)).filter((goal) => goal !== undefined);
	return { name: one.name, unit: one.unit, rows, goals };
}

function medianOf(rounds: readonly Measurement[], name: string): number {
	return median(rounds.map(({ more }) => more?.[name]).filter((value) => value !== undefined));
}

/** Undefined where a side of the comparison was not measured. */
function judged(one: Figure, goal: Goal, values: ReadonlyMap<string, readonly number[]>): GoalReport | undefined {
	const ours = values.get(goal.of);
	const theirs = goal.peer === undefined ? undefined : values.get(goal.peer);
	if (ours === undefined || (goal.peer !== undefined && theirs === undefined)) return undefined;
	const figure = compared(goal, ours, theirs) ?? Number.NaN;
	const reached = one.moreIsBetter ? figure >= goal.bound : figure <= goal.bound;
	const text = `${goal.of} ${one.moreIsBetter ? "≥" : "≤"} ${boundText(goal)}`;
	return { of: goal.of, text: `${text}: ${reached ? "reached" : "not reached"} (${shown(figure)})`, reached };
}

function compared({ as }: Goal, ours: readonly number[], theirs: readonly number[] | undefined): number | undefined {
	if (theirs === undefined) return median(ours);
	return as === "difference" ? differenceOf(ours, theirs) : ratioOf(ours, theirs)?.[0];
}

function boundText({ peer, bound, as }: Goal): string {
	if (peer === undefined) return String(bound);
	return as === "difference" ? `${peer} + ${bound}` : `${bound} × ${peer}`;
}

/** What is printed while a run goes on. */
export function lines({ name, unit, rows, goals }: CaseReport): string {
	const text = rows.map(({ peer, ratio, cpuMicros, more, errors, ...row }) => {
		const cpu = cpuMicros === undefined ? "" : `${cpuMicros.toFixed(1)} µs CPU`;
		const rest = Object.entries(more ?? {}).map(([key, value]) => `${key} ${value.toFixed(2)}`);
		if (errors > 0) rest.push(`${errors} errors`);
		return `  ${peer.padEnd(14)}${shown(row.median).padStart(9)}   ${shownRatio(ratio).padEnd(20)}${cpu.padStart(14)}  ${rest.join(" ")}`;
	});
	return [`\n${name} (${unit})`, ...text, ...goals.map((goal) => `  goal ${goal.text}`)].join("\n");
}

/** A run as a document: a table for each of ours with its goals, and one of all peers. */
export function markdown(about: About, ours: readonly string[], cases: readonly CaseReport[]): string {
	const peers = [...new Set(cases.flatMap(({ rows }) => rows.map(({ peer }) => peer)))];
	const [base = ""] = peers;
	return `# The latest full run

[README.md](../README.md) says how to read it. Commit ${about.commit}, ${about.when.slice(0, 10)}, node ${about.node},
${about.cpu}, ${about.cores} cores shared by load generator, proxy and box; medians of ${about.rounds} rounds of ${about.seconds} s.

${ours.map((peer) => comparison(peer, base, cases)).join("\n\n")}

## All peers

The ratio to ${base}, then the CPU in µs per unit of work.

${table(
	["case", ...peers],
	cases.map(({ name, rows }) => [
		name,
		...peers.map((peer) => {
			const row = rows.find((one) => one.peer === peer);
			return row === undefined ? "" : `${row.ratio?.[0].toFixed(2) ?? "1"}, ${shown(row.cpuMicros)}`;
		}),
	]),
)}
`;
}

function comparison(peer: string, base: string, cases: readonly CaseReport[]): string {
	const head = ["case", "unit", base, peer, `ratio to ${base} (smallest–largest)`, `CPU µs ${base}`, `CPU µs ${peer}`];
	const rows = cases.map(({ name, unit, rows, goals }) => {
		const theirs = rows.find((row) => row.peer === base);
		const ours = rows.find((row) => row.peer === peer);
		return [
			...[name, unit, shownRow(theirs), shownRow(ours), shownRatio(ours?.ratio)],
			...[shown(theirs?.cpuMicros), shown(ours?.cpuMicros)],
			goals
				.filter(({ of }) => of === peer)
				.map(({ text }) => text)
				.join("; "),
		];
	});
	return `## ${peer} and ${base}\n\n${table([...head, "goals"], rows)}`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
	const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
	return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

/** With what else was measured: percentiles. */
function shownRow(row: Row | undefined): string {
	if (row === undefined) return "";
	const more = Object.entries(row.more ?? {}).map(([name, value]) => `${name} ${value.toFixed(2)}`);
	return [shown(row.median), ...more, ...(row.errors > 0 ? [`${row.errors} errors`] : [])].join(", ");
}

function shownRatio(ratio: Ratio | undefined): string {
	return ratio === undefined ? "1" : `${ratio[0].toFixed(2)} (${ratio[1].toFixed(2)}–${ratio[2].toFixed(2)})`;
}

function shown(figure: number | undefined): string {
	if (figure === undefined || Number.isNaN(figure)) return "–";
	return figure >= 1000 ? figure.toFixed(0) : figure.toPrecision(3);
}
