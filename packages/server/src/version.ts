import { createRequire } from "node:module";

/** The package's own version. */
export const version: string = createRequire(import.meta.url)("../package.json").version;
