export { Passthrough, type PassthroughOptions } from "./passthrough.js";
