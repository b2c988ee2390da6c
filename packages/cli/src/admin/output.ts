export type OutputFormat = "text" | "json";

export type Row = Readonly<Record<string, unknown>>;

/** Prints what the API answered: as it is, or for people, in columns. */
export function printRows(
	format: OutputFormat,
	answer: unknown,
	rows: readonly Row[],
	columns: readonly string[],
): void {
	if (format === "json") {
		printJson(answer);
		return;
	}
	const lines = [
		columns.map((column) => label(column).toUpperCase()),
		...rows.map((row) => columns.map((c) => cell(c, row[c]))),
	];
	const widths = columns.map((_, n) => Math.max(...lines.map((line) => (line[n] as string).length)));
	const pad = (text: string, n: number) => text.padEnd(widths[n] as number);
	for (const line of lines) print(line.map(pad).join("  ").trimEnd());
}

/** One thing, a line for each of its fields. */
export function printFields(format: OutputFormat, answer: Row): void {
	if (format === "json") {
		printJson(answer);
		return;
	}
	const width = Math.max(...Object.keys(answer).map((name) => label(name).length));
	for (const [name, value] of Object.entries(answer)) print(`${label(name).padEnd(width)}  ${cell(name, value)}`);
}

/** That something without an answer is done. */
export function printDone(format: OutputFormat, text: string): void {
	print(format === "json" ? "{}" : text);
}

/** People read times as dates, not as the milliseconds of which the API's names tell. */
function label(name: string): string {
	return name.replace(/_ms$/, "");
}

function cell(name: string, value: unknown): string {
	if (value === null || value === undefined) return "-";
	return name.endsWith("_ms") ? new Date(Number(value)).toISOString() : String(value);
}

function printJson(answer: unknown): void {
	print(JSON.stringify(answer, null, "\t"));
}

function print(line: string): void {
	console.log(printable(line));
}

/** Strangers choose some of the names: what a terminal would obey is escaped as JSON escapes it. */
export function printable(text: string): string {
	return text.replace(/(?![\n\t])[\p{Cc}\p{Bidi_Control}]/gu, (char) => {
		return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
	});
}
