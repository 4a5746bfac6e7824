package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/keyfile"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/tasks"
)

// rawTask is a task whose argument and value are not looked into.
type rawTask = tasks.Task[json.RawMessage, json.RawMessage]

// declare makes a task of a name that the user typed.
func declare(name string, opts ...tasks.Option) (t *rawTask, err error) {
	defer func() {
		if p := recover(); p != nil {
			t, err = nil, fmt.Errorf("%v", p)
		}
	}()
	return tasks.Declare[json.RawMessage, json.RawMessage](name, opts...), nil
}

const outputHelp = `
Each call prints one line, in the order of the arguments: its value as JSON or,
if it failed, {"error": {...}} with the members task, job, call (counted from
0), kind, message, type, attempts and worker. The stack of a panic goes to
standard error, as do all messages: progress as a bar on a terminal, and elsewhere, of
jobs that take longer than 10 s, as a line for each tenth.

A map's ID goes to standard error before the command waits, and that of a single
call once it has lasted for two seconds. When the time of
--timeout is over, or the command is killed, the job goes on: distpool get ID waits
for it again. An interrupt cancels the job, and so does a closed terminal, unless
the command runs under nohup. With --async the job's ID is all that is printed, and nothing is waited for.
` + callsJSONHelp

func (a *app) applyCommand() *cobra.Command {
	var how submission
	cmd := &cobra.Command{
		Use: "apply TASK [ARGUMENT]", Short: "Run a task on one argument",
		Long: "Apply runs the task on one argument, a JSON value. If it is left out that is null, which\nfails the call of a task that requires a value.\n" + outputHelp,
		Example: `  distpool apply square 12
  distpool apply square -- -12
  distpool apply word_count '"/etc/hosts"' --timeout 10s
  distpool apply sleep_random --async`,
		Args: cobra.RangeArgs(1, 2), ValidArgsFunction: a.complete(1, taskWords),
		RunE: func(cmd *cobra.Command, words []string) error {
			args := []json.RawMessage{json.RawMessage("null")}
			if len(words) == 2 {
				if err := checkJSON([]byte(words[1])); err != nil {
					return usagef("argument: %w", err)
				}
				args[0] = json.RawMessage(words[1])
			}
			return a.submit(cmd.Context(), words[0], args, how)
		},
	}
	how.flags(cmd)
	return cmd
}

const mapInput = `The arguments are JSON values: on the command line or, if there are none there
(or just "-"), one a line in the file of --input or on standard input. Blank
lines are skipped.
`

func (a *app) mapCommand() *cobra.Command {
	return a.manyCommand(&cobra.Command{
		Use: "map TASK [ARGUMENT...]", Short: "Run a task on each of many arguments",
		Long: "Map runs the task once for each argument.\n" + mapInput + outputHelp,
		Example: `  distpool map square 1 2 3
  seq 1000 | distpool map square --chunk-size 20
  distpool map word_count --input paths.jsonl > counts.jsonl`,
	}, nil)
}

func (a *app) starmapCommand() *cobra.Command {
	return a.manyCommand(&cobra.Command{
		Use: "starmap TASK [TUPLE...]", Short: "Run a task of several arguments on each of many tuples",
		Long: "Starmap runs the task once for each tuple of arguments, a JSON array.\n" + mapInput + outputHelp,
		Example: `  distpool starmap add3_random '[0,0,0]' '[1,2,3]'
  distpool starmap add3_random --input tuples.jsonl`,
	}, checkTuples)
}

// manyCommand completes map and starmap.
func (a *app) manyCommand(cmd *cobra.Command, check func([]json.RawMessage) error) *cobra.Command {
	var (
		how   = submission{many: true}
		input string
		chunk int
	)
	cmd.Args = cobra.MinimumNArgs(1)
	cmd.ValidArgsFunction = a.complete(1, taskWords)
	cmd.RunE = func(cmd *cobra.Command, words []string) error {
		if chunk < 0 {
			return usagef("--chunk-size is %d; use a positive number of calls, or 0 for automatic", chunk)
		}
		args, err := a.readArgs(cmd.Context(), words[1:], input)
		if err == nil && check != nil {
			err = check(args)
		}
		if err != nil {
			if _, ok := errors.AsType[*exitError](err); ok {
				return err
			}
			return usage(err)
		}
		return a.submit(cmd.Context(), words[0], args, how, producer.ChunkSize(chunk))
	}
	how.flags(cmd)
	cmd.Flags().StringVar(&input, "input", "", "file of JSON lines to take the arguments from; - is standard input")
	cmd.Flags().IntVar(&chunk, "chunk-size", 0, "calls that travel together; 0 is automatic")
	return cmd
}

// submission is how a job is submitted and its outcomes are printed.
type submission struct {
	many   bool // it is a map, which may last
	async  bool
	asJSON bool
	codec  codecFlag
}

func (s *submission) flags(cmd *cobra.Command) {
	s.codec.flag(cmd)
	s.asyncFlags(cmd)
}

// asyncFlags are those that do not say how arguments travel.
func (s *submission) asyncFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.async, "async", false, "print the job's ID and do not wait")
	jsonFlag(cmd, &s.asJSON)
}

// codecFlag says how arguments travel.
type codecFlag struct{ encrypt bool }

func (c *codecFlag) flag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.encrypt, "encrypt", false, "encrypt arguments with the keyring, for workers that decrypt them")
}

// declare makes the task that the user has named.
func (c codecFlag) declare(s *session, name string) (*rawTask, error) {
	var opts []tasks.Option
	if c.encrypt {
		if s.ring.IsZero() {
			return nil, usagef("--encrypt needs keys; name a file of them with --keyring or $%s", keyfile.Env)
		}
		opts = append(opts, tasks.WithCodec(keyfile.Encrypted(s.ring)))
	}
	t, err := declare(name, opts...)
	if err != nil {
		return nil, usage(err)
	}
	return t, nil
}

// submit runs a job: all verbs are maps underneath, since their values are
// printed as they come.
func (a *app) submit(ctx context.Context, name string, args []json.RawMessage, how submission, opts ...producer.Option) error {
	if _, err := declare(name); err != nil { // before Redis is asked
		return usage(err)
	}
	limited, cancel := a.flags.limit(ctx)
	defer cancel()
	s, err := a.open(limited)
	if err != nil {
		return err
	}
	task, err := how.codec.declare(s, name)
	if err != nil {
		s.leave()
		return err
	}
	if how.async {
		// Kept as long as those of the library, for whoever asks for the job.
		opts = append(opts, producer.ResultTTL(producer.DefaultResultTTL))
	}
	m, err := producer.MapAsync(limited, s.pool, task, args, opts...)
	if err != nil {
		s.leave()
		if _, ok := errors.AsType[*tasks.ArgError](err); ok {
			return usage(err)
		}
		return noResult(err)
	}
	if how.async {
		s.leave()
		return a.printID(m.ID(), how.asJSON)
	}
	w := waiting{label: name, queue: a.flags.queue, ours: true, form: form{asJSON: how.asJSON}}
	if w.named = how.many; w.named {
		fmt.Fprintln(a.Err, idLine(m.ID()))
	}
	return s.finish(limited, m, w)
}
