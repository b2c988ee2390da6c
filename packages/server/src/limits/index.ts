export { clientKey } from "./client-key.js";
export { Counts } from "./counts.js";
export { Rate } from "./rate.js";
