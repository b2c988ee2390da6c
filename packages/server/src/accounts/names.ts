import { InvalidError } from "../errors.js";

/** The name of a user or a team: unique, fit for a command line, and never like an id, which has an underscore. */
export function checkedName(name: string): string {
	if (/^[A-Za-z0-9][A-Za-z0-9.@+-]{0,63}$/.test(name)) return name;
	throw new InvalidError("name", "must begin with a letter or digit and hold only those and . @ + -, at most 64");
}

/** What its owner calls a key. */
export function checkedLabel(name: string): string {
	const label = name.trim();
	// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
	if (label !== "" && label.length <= 100 && !/[\u0000-\u001f\u007f]/.test(label)) return label;
	throw new InvalidError("name", "must have 1 to 100 characters, none of them a control character");
}
