package call

import "time"

// Failure describes an error that a task returned or panicked with.
// tasks.Examine makes it.
type Failure struct {
	Message   string        // what Error returned
	Type      string        // its Go type, without the marks of package tasks
	Codes     []string      // registered codes found in its tree
	Permanent bool          // it is marked so
	Delay     time.Duration // asked for by a mark, if Asked
	Asked     bool
	Sane      bool // its methods returned: others may call them too
}
