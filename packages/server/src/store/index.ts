export { writePrivateFile } from "./files.js";
export { type Answer, type Claim, type IdempotencyKey, IdempotencyKeys } from "./idempotency.js";
export {
	readInstallation,
	type SecretStorage,
	secretStorage,
	writeInstallation,
} from "./installation.js";
export { loadMasterKey } from "./master-key.js";
export type { Schema } from "./schema.js";
export { Seal, type SealedPlace } from "./seal.js";
export { openStore, type Store, type StoreOptions } from "./store.js";
