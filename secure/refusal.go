package secure

// Reason says why something was refused.
type Reason string

// The reasons. Values may be added.
const (
	Unsigned   Reason = "unsigned"    // it has no signature
	UnknownKey Reason = "unknown_key" // it is signed with a key that is not on the keyring
	Mismatch   Reason = "mismatch"    // it is not what was signed: tampered with, or copied from somewhere else
	Expired    Reason = "expired"     // it is older than its job may become
	Early      Reason = "early"       // its job must not start yet
	Malformed  Reason = "malformed"   // its signature does not parse
)

// What was refused.
const (
	Arguments  = "arguments"  // of a chunk, by a worker
	Checkpoint = "checkpoint" // what an earlier worker saved of a chunk, by a worker
	Outcomes   = "outcomes"   // of a chunk, by a producer
	JobRecord  = "job"        // the description of a job, by a producer that attaches to it
)

// Refusal describes one thing that was refused because of its signature. Its names
// come from Redis, where an attacker may have written them.
type Refusal struct {
	What   string // one of the constants
	Reason Reason
	Key    string // ID of the key with which it claims to be signed; "" for none
	Job    string
	Chunk  int // -1: of no chunk
	Task   string
	Queue  string
}
