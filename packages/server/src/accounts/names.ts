import { InvalidError } from "../errors.js";

/** The name of a user or a team: unique, fit for a command line, and never like an id, which has an underscore. */
export function checkedName(name: string): string {
	if (/^[A-Za-z0-9][A-Za-z0-9.@+-]{0,63}$/.test(name)) return name;
	throw new InvalidError("name", "must begin with a letter or digit and hold only those and . @ + -, at most 64");
}

/** What ends a line, or a terminal obeys: others than its author read a text. */
export const controlCharacters = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u;

/** What its owner calls a key. */
export function checkedLabel(name: string): string {
	const label = name.trim();
	if (label !== "" && label.length <= 100 && !controlCharacters.test(label)) return label;
	throw new InvalidError("name", "must have 1 to 100 characters, none of them a control character");
}
