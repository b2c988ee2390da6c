export type { SshDirectory, SshTarget } from "./directory.js";
export { Passthrough, type PassthroughOptions } from "./passthrough.js";
