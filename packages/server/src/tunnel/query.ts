/** The query of an origin-form target, without its question mark; empty when there is none. */
export function queryOf(target: string): string {
	const mark = target.indexOf("?");
	return mark < 0 ? "" : target.slice(mark + 1);
}

/**
 * Takes a parameter out of a target, under its name however encoded: its (first) value, undefined when it is not there,
 * and the target without it, all other bytes as they were.
 */
export function takeParameter(target: string, name: string): { value: string | undefined; rest: string } {
	const query = queryOf(target);
	let value: string | undefined;
	const kept = query.split("&").filter((part) => {
		const [key, ...rest] = part.split("=");
		if (decode(key!) !== name) return true;
		value ??= decode(rest.join("="));
		return false;
	});
	if (value === undefined) return { value, rest: target };
	const path = target.slice(0, target.length - query.length - 1);
	return { value, rest: kept.length === 0 ? path : `${path}?${kept.join("&")}` };
}

/** As it is, where it is not well encoded: then it will match nothing. */
function decode(text: string): string {
	try {
		return decodeURIComponent(text);
	} catch {
		return text;
	}
}
