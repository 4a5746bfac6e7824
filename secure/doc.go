// Package secure holds what makes distpool safe on a Redis that others can reach:
// keys, the signing of jobs and of their outcomes, and the encryption of arguments
// and values.
//
// # Signing
//
// With a [Keyring] in producer.Config and worker.Config, producers sign what makes
// a worker run something, and workers refuse what is not signed: who can write to
// Redis but has no key cannot make a worker run anything. Workers sign outcomes,
// and handles refuse those that are not.
//
//	ring, err := secure.ReadKeyring("/etc/distpool/keys")
//	pool, err := producer.Open(ctx, producer.Config{Keyring: ring})
//	err = worker.Run(ctx, worker.Config{Keyring: ring}, Square)
//
// What is refused ends its job with results.ErrUntrusted, is logged, and is told to
// the OnRefused of the Config that refused it.
//
// # Encryption
//
// [Encrypt] wraps a task's codec: arguments, values and the texts of errors are
// then unreadable in Redis.
//
//	var Square = tasks.Define("square", square, tasks.WithCodec(secure.Encrypt(tasks.JSON, secure.FromFile("/etc/distpool/keys"))))
//
// docs/security.md says against whom each of them helps, what they do not cover,
// and how keys are changed.
package secure
