// Package calls is the commands that run calls and print their outcomes: apply, map and
// starmap (submit.go), imap, get, retry-failed. input.go reads arguments, wait.go waits,
// outcomes.go prints.
package calls

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/cli/console"
	"github.com/distpool/distpool/internal/keyfile"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/secure"
	"github.com/distpool/distpool/tasks"
)

// Commands are the commands of this package.
func Commands(a *console.App) []*cobra.Command {
	return []*cobra.Command{applyCommand(a), mapCommand(a), starmapCommand(a), imapCommand(a), getCommand(a), retryFailedCommand(a)}
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

func applyCommand(a *console.App) *cobra.Command {
	var how submission
	cmd := &cobra.Command{
		Use: "apply TASK [ARGUMENT]", Short: "Run a task on one argument",
		Long: "Apply runs the task on one argument, a JSON value. If it is left out that is null, which\nfails the call of a task that requires a value.\n" + outputHelp,
		Example: `  distpool apply square 12
  distpool apply square -- -12
  distpool apply word_count '"/etc/hosts"' --timeout 10s
  distpool apply sleep_random --async`,
		Args: cobra.RangeArgs(1, 2), ValidArgsFunction: a.Complete(1, console.TaskWords),
		RunE: func(cmd *cobra.Command, words []string) error {
			args := []json.RawMessage{json.RawMessage("null")}
			if len(words) == 2 {
				if err := checkJSON([]byte(words[1])); err != nil {
					return console.Usagef("argument: %w", err)
				}
				args[0] = json.RawMessage(words[1])
			}
			return submit(cmd.Context(), a, words[0], args, how)
		},
	}
	how.flags(cmd)
	return cmd
}

const mapInput = `The arguments are JSON values: on the command line or, if there are none there
(or just "-"), one a line in the file of --input or on standard input. Blank
lines are skipped.
`

func mapCommand(a *console.App) *cobra.Command {
	return manyCommand(a, &cobra.Command{
		Use: "map TASK [ARGUMENT...]", Short: "Run a task on each of many arguments",
		Long: "Map runs the task once for each argument.\n" + mapInput + outputHelp,
		Example: `  distpool map square 1 2 3
  seq 1000 | distpool map square --chunk-size 20
  distpool map word_count --input paths.jsonl > counts.jsonl`,
	}, nil)
}

func starmapCommand(a *console.App) *cobra.Command {
	return manyCommand(a, &cobra.Command{
		Use: "starmap TASK [TUPLE...]", Short: "Run a task of several arguments on each of many tuples",
		Long: "Starmap runs the task once for each tuple of arguments, a JSON array.\n" + mapInput + outputHelp,
		Example: `  distpool starmap add3_random '[0,0,0]' '[1,2,3]'
  distpool starmap add3_random --input tuples.jsonl`,
	}, checkTuples)
}

// manyCommand completes map and starmap.
func manyCommand(a *console.App, cmd *cobra.Command, check func([]json.RawMessage) error) *cobra.Command {
	var (
		how   = submission{many: true}
		input inputFlags
	)
	cmd.Args = cobra.MinimumNArgs(1)
	cmd.ValidArgsFunction = a.Complete(1, console.TaskWords)
	cmd.RunE = func(cmd *cobra.Command, words []string) error {
		if err := input.check(); err != nil {
			return err
		}
		args, err := input.readArgs(cmd.Context(), a, words[1:])
		if err == nil && check != nil {
			err = check(args)
		}
		if err != nil {
			return console.Usage(err)
		}
		return submit(cmd.Context(), a, words[0], args, how, producer.ChunkSize(input.chunk))
	}
	how.flags(cmd)
	input.add(cmd)
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
	console.JSONFlag(cmd, &s.asJSON)
}

// codecFlag says how arguments travel.
type codecFlag struct{ encrypt bool }

func (c *codecFlag) flag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.encrypt, "encrypt", false, "encrypt arguments with the keyring, for workers that decrypt them")
}

// declare makes the task that the user has named, and reads the keys.
func (c codecFlag) declare(a *console.App, name string) (*console.RawTask, secure.Keyring, error) {
	ring, err := a.Keys()
	if err != nil {
		return nil, ring, err
	}
	var opts []tasks.Option
	if c.encrypt {
		if ring.IsZero() {
			return nil, ring, console.Usagef("--encrypt needs keys; name a file of them with --keyring or $%s", keyfile.Env)
		}
		opts = append(opts, tasks.WithCodec(keyfile.Encrypted(ring)))
	}
	t, err := console.DeclareTask(name, opts...)
	if err != nil {
		return nil, ring, console.Usage(err)
	}
	return t, ring, nil
}

// submit runs a job: all verbs are maps underneath, since their values are
// printed as they come.
func submit(ctx context.Context, a *console.App, name string, args []json.RawMessage, how submission, opts ...producer.Option) error {
	task, ring, err := how.codec.declare(a, name)
	if err != nil {
		return err
	}
	if how.async {
		// Kept as long as those of the library, for the commands that ask for the job.
		opts = append(opts, producer.ResultTTL(producer.DefaultResultTTL))
	}
	return withPool(ctx, a, ring, func(ctx context.Context, s *session) error {
		m, err := producer.MapAsync(ctx, s.pool, task, args, opts...)
		if _, ok := errors.AsType[*tasks.ArgError](err); ok {
			return console.Usage(err)
		}
		if err != nil {
			return err
		}
		if how.async {
			return printID(a, m.ID(), how.asJSON)
		}
		w := waiting{label: name, queue: a.Queue, ours: true, named: how.many, form: form{asJSON: how.asJSON}}
		if w.named {
			fmt.Fprintln(a.Err, idLine(m.ID()))
		}
		return s.finish(ctx, m, w)
	})
}
