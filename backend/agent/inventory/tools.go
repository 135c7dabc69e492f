package inventory

// condaNames are packages that conda names otherwise than Python does.
var condaNames = map[string]string{"pytorch": "torch", "pytorch-gpu": "torch", "pytorch-cpu": "torch",
	"tensorflow-gpu": "tensorflow", "py-xgboost": "xgboost", "onnxruntime-gpu": "onnxruntime-gpu"}

// tool is a program whose version is known from its package, or asked for.
type tool struct {
	name     string
	programs []string // any of these
	packages []string // Debian's, any of these
	args     []string
	paths    []string // where it may be besides the usual folders
}

var tools = []tool{
	{name: "docker", programs: []string{"docker"}, packages: []string{"docker-ce-cli", "docker.io", "moby-cli"},
		args: []string{"--version"}},
	{name: "podman", programs: []string{"podman"}, packages: []string{"podman"}, args: []string{"--version"}},
	{name: "nvidia-container-toolkit", programs: []string{"nvidia-ctk", "nvidia-container-toolkit"},
		packages: []string{"nvidia-container-toolkit"}, args: []string{"--version"}},
	{name: "nginx", programs: []string{"nginx"}, packages: []string{"nginx", "nginx-core", "nginx-light"},
		args: []string{"-v"}},
	{name: "mpi", programs: []string{"mpirun", "mpiexec"}, packages: []string{"openmpi-bin", "mpich"},
		args: []string{"--version"}},
	{name: "protobuf", programs: []string{"protoc"}, packages: []string{"protobuf-compiler"}, args: []string{"--version"}},
	{name: "r", programs: []string{"R"}, packages: []string{"r-base-core"}, args: []string{"--version"}},
	{name: "rstudio-server", programs: []string{"rstudio-server"}, packages: []string{"rstudio-server"},
		args: []string{"version"}, paths: []string{"/usr/lib/rstudio-server/bin"}},
	{name: "code-server", programs: []string{"code-server"}, packages: []string{"code-server"},
		args: []string{"--version"}},
	{name: "blobfuse2", programs: []string{"blobfuse2"}, packages: []string{"blobfuse2"}, args: []string{"--version"}},
	{name: "rclone", programs: []string{"rclone"}, packages: []string{"rclone"}, args: []string{"version"}},
	{name: "az", programs: []string{"az"}, packages: []string{"azure-cli"}, args: []string{"--version"}},
	{name: "aws", programs: []string{"aws"}, packages: []string{"awscli"}, args: []string{"--version"}},
	{name: "gcloud", programs: []string{"gcloud"}, packages: []string{"google-cloud-cli"}, args: []string{"--version"}},
	{name: "git", programs: []string{"git"}, packages: []string{"git"}, args: []string{"--version"}},
	{name: "tmux", programs: []string{"tmux"}, packages: []string{"tmux"}, args: []string{"-V"}},
	{name: "gcc", programs: []string{"gcc"}, args: []string{"-dumpfullversion"}},
	{name: "cmake", programs: []string{"cmake"}, packages: []string{"cmake"}, args: []string{"--version"}},
	{name: "python", programs: []string{"python3"}, args: []string{"--version"}},
}
