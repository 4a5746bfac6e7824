package job

import (
	"encoding/json"
	"fmt"
	"strings"
)

// version is the version of the record, and the first character of every description.
// Every reader checks it.
const version = '1'

// About describes a job. It is fixed when the job is created.
type About struct {
	Task string `json:"-"`

	// Absent means default: most jobs have none of these.
	Codec   string          `json:"codec,omitempty"`   // default "json"
	Policy  string          `json:"policy,omitempty"`  // what the job says about retries and time limits (call.Policy)
	Headers json.RawMessage `json:"headers,omitempty"` // from the submission's observers to the observers of the workers
	Start   int64           `json:"start,omitempty"`   // not before this, Unix ms
	Sum     string          `json:"sum,omitempty"`     // chosen name: digest of what was submitted
	Cut     string          `json:"cut,omitempty"`     // chosen name: the rule by which it is cut into chunks
	Sig     string          `json:"sig,omitempty"`     // signature of all this, while signing is on
}

// defaultCodec is the codec of a description that names none.
const defaultCodec = "json"

// Encode returns the field about: "1 TASK", and the rest in JSON behind a line feed
// where there is some.
func (a About) Encode() (string, error) {
	described := a
	if a.Codec == defaultCodec {
		described.Codec = ""
	}
	head := string(version) + " " + a.Task
	if described.isUsual() {
		return head, nil
	}
	rest, err := json.Marshal(described)
	if err != nil {
		return "", fmt.Errorf("the description of a job of task %q: %w", a.Task, err)
	}
	return head + "\n" + string(rest), nil
}

// isUsual reports whether there is nothing to say but the task, as of most jobs.
func (a About) isUsual() bool {
	return a.Codec == "" && a.Policy == "" && a.Headers == nil && a.Start == 0 && a.Sum == "" && a.Cut == "" && a.Sig == ""
}

// ParseAbout undoes Encode.
func ParseAbout(s string) (About, error) {
	if len(s) < 2 || s[0] != version || s[1] != ' ' {
		return About{}, fmt.Errorf("%w: its description begins with %.20q, and this program reads version %c: run the same version of distpool everywhere", ErrDamaged, s, version)
	}
	task, rest, more := strings.Cut(s[2:], "\n")
	a := About{}
	if more {
		if err := json.Unmarshal([]byte(rest), &a); err != nil {
			return About{}, fmt.Errorf("%w: its description: %w", ErrDamaged, err)
		}
	}
	a.Task = task
	if a.Codec == "" {
		a.Codec = defaultCodec
	}
	return a, nil
}
