package console

import (
	"encoding/json"
	"fmt"

	"github.com/distpool/distpool/tasks"
)

// RawTask is a task whose argument and value are not looked into.
type RawTask = tasks.Task[json.RawMessage, json.RawMessage]

// DeclareTask makes a task of a name that the user typed, or that Redis has.
func DeclareTask(name string, opts ...tasks.Option) (t *RawTask, err error) {
	defer func() {
		if p := recover(); p != nil {
			t, err = nil, fmt.Errorf("%v", p)
		}
	}()
	return tasks.Declare[json.RawMessage, json.RawMessage](name, opts...), nil
}
