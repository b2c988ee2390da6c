export { LinuxRuntime, type LinuxRuntimeOptions } from "./linux-runtime.js";
