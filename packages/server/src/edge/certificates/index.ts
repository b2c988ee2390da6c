export { CertificateFiles, type CertificateFilesOptions } from "./files.js";
export { CA_SECRET, LocalCertificates, type LocalCertificatesOptions } from "./local.js";
export type { CertificateSource, KeyPair } from "./source.js";
