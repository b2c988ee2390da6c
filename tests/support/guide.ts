import { readFileSync } from "node:fs";

/** The fenced blocks of docs/tunnels.md in this language, in their order. */
export function snippets(language: string): string[] {
	const guide = readFileSync(new URL("../../docs/tunnels.md", import.meta.url), "utf8");
	return [...guide.matchAll(/^```(\S*)\n(.*?)^```$/gms)].flatMap(([, of, text]) => (of === language ? [text!] : []));
}

/** `text` with each of these words replaced, all of which must be there: what a reader puts in their place. */
export function filledIn(text: string, values: Readonly<Record<string, string | number>>): string {
	return Object.entries(values).reduce((filled, [placeholder, value]) => {
		if (!filled.includes(placeholder)) throw new Error(`the guide no longer says ${placeholder}`);
		return filled.replaceAll(placeholder, String(value));
	}, text);
}
