import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { isMap, isScalar, isSeq, parseDocument } from "yaml";
import { ConfigError } from "../errors.js";
import type { Given } from "./sources.js";

const DEFAULT_NAME = "gangway.yaml";

/** The keys and values of the settings file, in its order: `--config`, else `gangway.yaml` in the working directory if it is there. */
export function readConfigFile(
	configFlag: string | boolean | undefined,
	cwd: string,
): readonly { readonly name: string; readonly given: Given }[] {
	if (configFlag === "" || typeof configFlag === "boolean") {
		throw new ConfigError("--config: needs a value; allowed: the path of a YAML file");
	}
	const file = resolve(cwd, configFlag ?? DEFAULT_NAME);
	const text = readText(file, configFlag);
	return text === undefined ? [] : parse(text, file);
}

function readText(file: string, configFlag: string | undefined): string | undefined {
	try {
		return readFileSync(file, "utf8");
	} catch (error) {
		const { code } = error as NodeJS.ErrnoException;
		if (code === "ENOENT" && configFlag === undefined) return undefined;
		const name = configFlag === undefined ? DEFAULT_NAME : "--config";
		throw new ConfigError(`${name}: ${JSON.stringify(file)} cannot be read (${code}); allowed: a readable YAML file`);
	}
}

function parse(text: string, file: string) {
	// The failsafe schema keeps every scalar as it is written: a key of digits is not a number, `no` is not false.
	const document = parseDocument(text, { schema: "failsafe", prettyErrors: true });
	const [problem] = document.errors;
	if (problem) {
		const line = problem.linePos?.[0].line;
		const what = problem.code.toLowerCase().replaceAll("_", " ");
		// The parser's own message quotes the line, which may hold a secret.
		throw new ConfigError(`${file}: line ${line}: ${what}; allowed: YAML lines of the form key: value`);
	}
	const { contents } = document;
	if (contents === null || (isScalar(contents) && contents.value === "")) return [];
	if (!isMap(contents)) throw new ConfigError(`${file}: no settings; allowed: YAML lines of the form key: value`);
	return contents.items.map((item) => {
		const name = isScalar(item.key) ? String(item.key.value) : "?";
		return { name, given: given(name, item.value, file) };
	});
}

function given(name: string, node: unknown, file: string): Given {
	const source = { name: `${name} in ${file}`, directory: dirname(file) };
	if (isScalar(node)) return { ...source, text: String(node.value ?? ""), isList: false };
	if (isSeq(node) && node.items.every((item) => isScalar(item))) {
		return { ...source, text: node.items.map((item) => String(item.value)).join(","), isList: true };
	}
	throw new ConfigError(`${source.name}: not a plain value; allowed: key: value, or key: [value, value]`);
}
