package deploytest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/distpool/distpool/internal/redisconn"
)

const root = "../.."

// load reads docker-compose.yml as docker compose would. The loader checks it
// against the schema of the compose specification, and the references in it.
func load(t *testing.T, file string) (*types.Project, error) {
	t.Helper()
	opts, err := cli.NewProjectOptions([]string{file}, cli.WithWorkingDirectory(root), cli.WithConsistency(true))
	if err != nil {
		t.Fatal(err)
	}
	return opts.LoadProject(t.Context())
}

func project(t *testing.T) *types.Project {
	t.Helper()
	p, err := load(t, filepath.Join(root, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func service(t *testing.T, name string) types.ServiceConfig {
	t.Helper()
	s, err := project(t).GetService(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestComposeFileHasItsServices(t *testing.T) {
	names := project(t).ServiceNames()
	slices.Sort(names)
	if want := []string{"asynqmon", "producer", "redis", "worker"}; !slices.Equal(names, want) {
		t.Errorf("services are %q, want %q", names, want)
	}
}

// The checks above and below would be worth little if load passed anything.
func TestComposeFileIsCheckedAgainstTheSpecification(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, replace := range map[string][2]string{
		"unknown key":        {"stop_grace_period:", "stop_grace_periods:"},
		"wrong type":         {"retries: 30", "retries: [30]"},
		"undefined service":  {"      worker:\n        condition: service_started", "      workers:\n        condition: service_started"},
		"undefined volume":   {"- redis-data:/data", "- redis-datum:/data"},
		"unknown condition":  {"condition: service_started", "condition: service_ready"},
		"bad duration":       {"interval: 2s", "interval: soon"},
		"bad published port": {"127.0.0.1:8080:8080", "127.0.0.1:eighty:8080"},
	} {
		broken := strings.Replace(string(b), replace[0], replace[1], 1)
		if broken == string(b) {
			t.Errorf("%s: the file does not contain %q", name, replace[0])
			continue
		}
		file := filepath.Join(t.TempDir(), "docker-compose.yml")
		if err := os.WriteFile(file, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := load(t, file); err == nil {
			t.Errorf("%s: a file with %q loads", name, replace[1])
		}
	}
}

func TestRedisKeepsWhatItAccepted(t *testing.T) {
	s := service(t, "redis")
	if !strings.HasPrefix(s.Image, "redis:7") {
		t.Errorf("the image is %s, want redis:7", s.Image)
	}
	command := strings.Join(s.Command, " ")
	for _, want := range []string{"--appendonly yes", "--maxmemory-policy noeviction"} {
		if !strings.Contains(command, want) {
			t.Errorf("the command %q lacks %q", command, want)
		}
	}
	if s.HealthCheck == nil || s.HealthCheck.Disable || !strings.Contains(strings.Join(s.HealthCheck.Test, " "), "PONG") {
		t.Errorf("the health check is %+v, want one that waits for PONG", s.HealthCheck)
	}
	if len(s.Volumes) != 1 || s.Volumes[0].Type != types.VolumeTypeVolume || s.Volumes[0].Source == "" || s.Volumes[0].Target != "/data" {
		t.Errorf("the volumes are %+v, want a named one at /data, where the image works", s.Volumes)
	}
	if s.Restart != types.RestartPolicyUnlessStopped {
		t.Errorf("restart is %q, want unless-stopped", s.Restart)
	}
	if len(s.Ports) != 0 {
		t.Errorf("ports %+v are open to everyone, without a password", s.Ports)
	}
}

func TestWorkerScalesAndStopsGracefully(t *testing.T) {
	s := service(t, "worker")
	if s.ContainerName != "" || len(s.Ports) != 0 {
		t.Errorf("container name %q and ports %+v exist only once, so the service does not scale", s.ContainerName, s.Ports)
	}
	if s.Restart != types.RestartPolicyUnlessStopped {
		t.Errorf("restart is %q, want unless-stopped", s.Restart)
	}
	grace, err := time.ParseDuration(flagValue(s.Command, "-grace"))
	if err != nil {
		t.Fatalf("the command %q has no -grace: %v", s.Command, err)
	}
	if s.StopGracePeriod == nil || time.Duration(*s.StopGracePeriod) < grace+time.Second {
		t.Errorf("stop_grace_period is %v, want more than the worker's grace of %v and a second to end", s.StopGracePeriod, grace)
	}
	if s.Command[0] != "worker" {
		t.Errorf("it runs %q, want worker", s.Command[0])
	}
}

func TestProducerRunsOnce(t *testing.T) {
	s := service(t, "producer")
	if s.Restart != types.RestartPolicyNo {
		t.Errorf("restart is %q, want no", s.Restart)
	}
	if len(s.Command) < 4 || !slices.Equal([]string(s.Command[:3]), []string{"distpool", "map", "square"}) {
		t.Errorf("it runs %q, want distpool map square and arguments", s.Command)
	}
}

func TestAsynqmonIsReachedFromThisMachineOnly(t *testing.T) {
	s := service(t, "asynqmon")
	if !strings.HasPrefix(s.Image, "hibiken/asynqmon:") {
		t.Errorf("the image is %s, want a fixed version of hibiken/asynqmon", s.Image)
	}
	if len(s.Ports) != 1 || s.Ports[0].HostIP != "127.0.0.1" || s.Ports[0].Published != "8080" || s.Ports[0].Target != 8080 {
		t.Errorf("the ports are %+v, want 127.0.0.1:8080:8080", s.Ports)
	}
}

func TestOurServicesBuildThisRepository(t *testing.T) {
	abs, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"worker", "producer"} {
		s := service(t, name)
		if s.Build == nil || s.Build.Context != abs || s.Build.Dockerfile != "Dockerfile" {
			t.Errorf("%s builds %+v, want Dockerfile in %s", name, s.Build, abs)
		}
	}
}

func TestServicesFindAHealthyRedis(t *testing.T) {
	for _, name := range []string{"worker", "producer", "asynqmon"} {
		s := service(t, name)
		if got := s.DependsOn["redis"].Condition; got != types.ServiceConditionHealthy {
			t.Errorf("%s waits for redis to be %q, want service_healthy", name, got)
		}
		url := s.Environment[redisconn.EnvURL]
		if url == nil {
			t.Errorf("%s has no %s", name, redisconn.EnvURL)
			continue
		}
		target, err := redisconn.Parse(*url)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if target.String() != "redis://redis:6379" {
			t.Errorf("%s uses %s, want the service redis", name, target)
		}
	}
}

// flagValue returns the word after the flag in a command, or "".
func flagValue(command []string, flag string) string {
	if i := slices.Index(command, flag); i >= 0 && i+1 < len(command) {
		return command[i+1]
	}
	return ""
}
