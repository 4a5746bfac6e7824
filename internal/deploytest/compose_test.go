package deploytest

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/distpool/distpool/internal/keyfile"
	"github.com/distpool/distpool/internal/redisconn"
)

const root = "../.."

// tokenVariable is what docker-compose.yml takes the monitor's token from.
const tokenVariable = "DISTPOOL_MONITOR_TOKEN"

// load reads docker-compose.yml as docker compose would. The loader checks it
// against the schema of the compose specification, and the references in it.
func load(t *testing.T, files ...string) (*types.Project, error) {
	t.Helper()
	opts, err := cli.NewProjectOptions(files, cli.WithWorkingDirectory(root), cli.WithConsistency(true),
		cli.WithEnv([]string{tokenVariable + "=" + token, keyfile.Env + "=" + keyFile}))
	if err != nil {
		t.Fatal(err)
	}
	return opts.LoadProject(t.Context())
}

func project(t *testing.T) *types.Project {
	t.Helper()
	return composed(t, "docker-compose.yml")
}

// composed is what files of this repository make together.
func composed(t *testing.T, files ...string) *types.Project {
	t.Helper()
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = filepath.Join(root, f)
	}
	p, err := load(t, paths...)
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

// ours are the services that run programs of this repository.
var ours = []string{"worker", "producer", "monitor"}

func TestComposeFileHasItsServices(t *testing.T) {
	names := project(t).ServiceNames()
	slices.Sort(names)
	if want := []string{"monitor", "producer", "prometheus", "redis", "worker"}; !slices.Equal(names, want) {
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
		"undefined secret":   {"source: monitor-token", "source: monitors-token"},
		"bad published port": {"127.0.0.1:8500:8500", "127.0.0.1:eighty:8500"},
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
	if g := grace(t, "worker", s.Command); s.StopGracePeriod == nil || time.Duration(*s.StopGracePeriod) < g+time.Second {
		t.Errorf("stop_grace_period is %v, want more than the worker's grace of %v and a second to end", s.StopGracePeriod, g)
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

func TestPagesAreReachedFromThisMachineOnly(t *testing.T) {
	published := map[string]string{}
	for name, s := range project(t).Services {
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes %s on %q, want 127.0.0.1: nothing there encrypts", name, p.Published, p.HostIP)
			}
			published[name] = fmt.Sprintf("%s:%d", p.Published, p.Target)
		}
	}
	if want := map[string]string{"monitor": "8500:8500", "prometheus": "9090:9090"}; !maps.Equal(published, want) {
		t.Errorf("published are %v, want %v", published, want)
	}
}

func TestOurServicesBuildThisRepository(t *testing.T) {
	abs, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range ours {
		s := service(t, name)
		if s.Build == nil || s.Build.Context != abs || s.Build.Dockerfile != "Dockerfile" {
			t.Errorf("%s builds %+v, want Dockerfile in %s", name, s.Build, abs)
		}
	}
}

func TestServicesFindAHealthyRedis(t *testing.T) {
	for _, name := range ours {
		s := service(t, name)
		if got := s.DependsOn["redis"].Condition; got != types.ServiceConditionHealthy {
			t.Errorf("%s waits for redis to be %q, want service_healthy", name, got)
		}
		address := s.Environment[redisconn.EnvURL]
		if address == nil {
			t.Errorf("%s has no %s", name, redisconn.EnvURL)
			continue
		}
		target, err := redisconn.Parse(*address)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if target.String() != "redis://redis:6379" {
			t.Errorf("%s uses %s, want the service redis", name, target)
		}
	}
}

// images are those that we did not build. They have a version, so that a release of
// theirs does not change what was tried.
var images = regexp.MustCompile(`^(redis:7|prom/prometheus:v\d+\.\d+\.\d+)$`)

func TestImagesAreOursOrHaveAVersion(t *testing.T) {
	for name, s := range project(t).Services {
		if slices.Contains(ours, name) {
			if s.Image != "distpool" {
				t.Errorf("%s runs %s, want the image that it builds, distpool", name, s.Image)
			}
		} else if !images.MatchString(s.Image) {
			t.Errorf("%s runs %s, want one of %v", name, s.Image, images)
		}
	}
}

func TestComposeCommandsAreAccepted(t *testing.T) {
	for _, name := range ours {
		accepted(t, name, service(t, name).Command)
	}
}

func TestOurServicesAreConfined(t *testing.T) {
	for _, name := range ours {
		s := service(t, name)
		// See TestReadOnlyServicesGetNoSecretThatIsCopied.
		if s.ReadOnly == (name == "monitor") || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) || s.Privileged || s.User != "" {
			t.Errorf("%s: read-only %t, drops %q, options %q, privileged %t, user %q", name, s.ReadOnly, s.CapDrop, s.SecurityOpt, s.Privileged, s.User)
		}
	}
}

// Compose copies secrets that are no files into the container before it starts. A
// read-only one refuses that, and the service does not start.
func TestReadOnlyServicesGetNoSecretThatIsCopied(t *testing.T) {
	for _, files := range [][]string{{"docker-compose.yml"}, {"docker-compose.yml", composeKeyring}} {
		p := composed(t, files...)
		for name, s := range p.Services {
			for _, use := range s.Secrets {
				copied := p.Secrets[use.Source].File == ""
				if copied && s.ReadOnly {
					t.Errorf("%q: %s is read-only, and gets a copy of %s", files, name, use.Source)
				}
				// The copy is root's, and none of the programs with a secret is root.
				if copied && (use.Mode == nil || *use.Mode != 0o444) {
					t.Errorf("%q: %s cannot read its copy of %s, of mode %v", files, name, use.Source, use.Mode)
				}
			}
		}
	}
}

func TestEveryServiceThatStaysHasAHealthCheck(t *testing.T) {
	for name, s := range project(t).Services {
		if s.Restart == types.RestartPolicyNo {
			continue
		}
		if s.HealthCheck == nil || s.HealthCheck.Disable || len(s.HealthCheck.Test) < 2 {
			t.Errorf("%s has no health check", name)
			continue
		}
		if slices.Contains(ours, name) && s.HealthCheck.Test[0] != "CMD" {
			t.Errorf("%s: the health check %q needs a shell, which the image has not", name, s.HealthCheck.Test)
		}
	}
}

func TestHealthChecksOfOurServicesAskWhatTheyServe(t *testing.T) {
	for name, flag := range map[string]string{"worker": "-http", "monitor": "--addr"} {
		s := service(t, name)
		check := s.HealthCheck.Test[1:]
		accepted(t, name+"'s health check", check)
		u, err := url.Parse(check[len(check)-1])
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(check[:2], []string{"distpool", "probe"}) || u.Hostname() != "127.0.0.1" || u.Port() != port(t, flagValue(s.Command, flag)) {
			t.Errorf("%s is asked with %q, but listens on %s", name, check, flagValue(s.Command, flag))
		}
		if limit := time.Duration(*s.HealthCheck.Timeout); limit <= 2*time.Second {
			t.Errorf("%s: the health check is given %v, less than a probe takes to say why", name, limit)
		}
		deploy(t, s.Command).probed(t, name, u.Path)
	}
}

// port is the port of host:port.
func port(t *testing.T, addr string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestComposeMountsWhatExists(t *testing.T) {
	for name, s := range project(t).Services {
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			if info, err := os.Stat(v.Source); err != nil || info.IsDir() || !v.ReadOnly {
				t.Errorf("%s mounts %s, read-only: %t: %v", name, v.Source, v.ReadOnly, err)
			}
		}
	}
}

func TestTheTokenIsInNeitherRepositoryNorImage(t *testing.T) {
	p := project(t)
	secret, ok := p.Secrets["monitor-token"]
	if !ok || secret.Environment != tokenVariable || secret.File != "" {
		t.Errorf("the token comes from %+v, want from the environment", secret)
	}
	for name, s := range p.Services {
		for key, value := range s.Environment {
			if value != nil && strings.Contains(*value, token) {
				t.Errorf("%s has the token in %s, where docker inspect shows it", name, key)
			}
		}
		if strings.Contains(strings.Join(s.Command, " "), token) {
			t.Errorf("%s has the token in its command", name)
		}
	}
	if file := flagValue(service(t, "monitor").Command, "--token-file"); file != secretFile(t, "monitor") {
		t.Errorf("the monitor reads its token from %s, but has it in %s", file, secretFile(t, "monitor"))
	}
	for _, file := range []string{".gitignore", ".dockerignore"} {
		b, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`(?m)^/?\.env$`).Match(b) {
			t.Errorf("%s does not list .env, where the token is", file)
		}
	}
}

// secretFile is where a service finds the monitor's token.
func secretFile(t *testing.T, name string) string {
	t.Helper()
	s := service(t, name)
	if len(s.Secrets) != 1 || s.Secrets[0].Source != "monitor-token" {
		t.Fatalf("%s has the secrets %+v, want the monitor's token", name, s.Secrets)
	}
	if s.Secrets[0].Target != "" {
		return s.Secrets[0].Target
	}
	return "/run/secrets/" + s.Secrets[0].Source
}

func TestTheTokenIsMadeOnceAndForItsOwnerOnly(t *testing.T) {
	file := filepath.Join(t.TempDir(), ".env")
	run := func() string {
		t.Helper()
		if out, err := exec.Command(filepath.Join(root, "scripts", "token.sh"), file).CombinedOutput(); err != nil {
			t.Fatalf("token.sh: %v\n%s", err, out)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	first := run()
	if !regexp.MustCompile(`^` + tokenVariable + `=[0-9a-f]{32}\n$`).MatchString(first) {
		t.Errorf("it makes %q", first)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	if again := run(); again != first {
		t.Errorf("a second run makes %q of %q", again, first)
	}
	if err := os.WriteFile(file, []byte("REDIS_URL=x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := run(); !strings.HasPrefix(got, "REDIS_URL=x\n"+tokenVariable+"=") || got == first {
		t.Errorf("beside other settings it makes %q", got)
	}
	if !strings.Contains(makefile(t), "./scripts/token.sh\n\tdocker compose up") {
		t.Error("make up does not make the token first")
	}
}
