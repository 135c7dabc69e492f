# What the scripts of set-up profiles use; it stands before each script and check.
. /etc/os-release 2>/dev/null || :
: "${BERTH_USER:=${SUDO_USER:-$(id -un)}}"
: "${BERTH_USER_HOME:=$(getent passwd "$BERTH_USER" 2>/dev/null | cut -d: -f6)}"
ARCH=$(dpkg --print-architecture 2>/dev/null || uname -m)

# die TEXT: ends the step and says why.
die() {
  echo "$*" >&2
  exit 1
}

# only_on ARCHS OSES: ends the step where this machine is none of these; "" stands for any.
only_on() {
  if [ -n "$1" ]; then
    case " $1 " in *" $ARCH "*) ;; *) die "this is for $1, and this machine is $ARCH" ;; esac
  fi
  if [ -n "$2" ]; then
    case " $2 " in *" $ID "* | *" $ID-$VERSION_ID "*) ;; *) die "this is for $2, and this machine is ${ID:-unknown}-$VERSION_ID" ;; esac
  fi
}

# have PACKAGE…: whether all of these packages are installed.
have() {
  for p; do
    dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || return 1
  done
}

# have_command NAME…: whether all of these programs are there.
have_command() {
  for p; do command -v "$p" >/dev/null 2>&1 || return 1; done
}

# need_command NAME PACKAGE: installs the package unless the program is there.
need_command() {
  have_command "$1" || install_packages "$2"
}

# get URL FILE: fetches a file. What it fetches must be checked: see fetch and key.
get() {
  if have_command curl; then
    curl -fsSL --retry 3 --connect-timeout 20 -o "$2" "$1"
  elif have_command wget; then
    wget -q --tries=3 --connect-timeout=20 -O "$2" "$1"
  else
    install_packages curl ca-certificates && curl -fsSL --retry 3 --connect-timeout 20 -o "$2" "$1"
  fi || die "can't fetch $1 (proxy: ${https_proxy:-${HTTPS_PROXY:-none}}): look whether this machine may reach its host"
}

# fetch URL SHA256 FILE: fetches a file whose checksum is known.
fetch() {
  get "$1" "$3.part"
  echo "$2  $3.part" | sha256sum -c --status || die "$1 has the checksum $(sha256sum "$3.part" | cut -c1-64), and $2 was expected: it is not used"
  mv "$3.part" "$3"
}

# need_url URL: ends the step where a registry can't be reached, before anything is changed.
need_url() {
  if have_command curl; then
    curl -fsSL --retry 2 --connect-timeout 20 --max-time 60 -o /dev/null -r 0-0 "$1"
  elif have_command wget; then
    wget -q --tries=2 --timeout=20 --spider "$1"
  else
    probe=$(mktemp -d) && /usr/lib/apt/apt-helper -q -o Acquire::http::Timeout=20 download-file "$1" "$probe/file" && rm -rf "$probe"
  fi || die "can't reach $1 (proxy: ${https_proxy:-${HTTPS_PROXY:-none}}): look whether this machine may reach its host"
}

# apt COMMAND ARGUMENT…: apt-get without questions, which waits for another one to end.
apt() {
  apt-get -q -y -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}

# update_packages: fetches the lists of packages; what can't be reached ends the step and is named. It waits
# for another apt-get, as a machine runs one by itself soon after its boot.
update_packages() {
  log=$(mktemp)
  waited=0
  until apt -o APT::Update::Error-Mode=any update >"$log" 2>&1; do
    if grep -q 'Could not get lock' "$log" && [ $waited -lt 600 ]; then
      waited=$((waited + 5))
      sleep 5
      continue
    fi
    grep -E '^(E|Err|W):' "$log" >&2 || tail -n 5 "$log" >&2
    rm -f "$log"
    die "the lists of packages can't be fetched: look at the lines above for what can't be reached"
  done
  rm -f "$log"
}

# install_packages PACKAGE…: installs what is missing of these.
install_packages() {
  if have "$@"; then return 0; fi
  find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -mmin -360 2>/dev/null | grep -q . || update_packages
  apt install --no-install-recommends "$@" || {
    update_packages
    apt install --no-install-recommends "$@"
  } || die "these packages can't be installed: $*"
}

# key URL FINGERPRINT FILE: fetches an OpenPGP key and keeps it if it is the one with this fingerprint. Of a
# file with several keys only that one is kept.
key() {
  need_command gpg gpg
  if [ -s "$3" ] && key_is "$3" "$2"; then return 0; fi
  tmp=$(mktemp -d)
  get "$1" "$tmp/key"
  gpg --homedir "$tmp" --batch --quiet --import "$tmp/key" 2>/dev/null || :
  gpg --homedir "$tmp" --batch --quiet --export "$2" >"$tmp/out" 2>/dev/null || :
  key_is "$tmp/out" "$2" || {
    rm -rf "$tmp"
    die "$1 holds no key with the fingerprint $2: it is not used"
  }
  mkdir -p "$(dirname "$3")"
  install -m 0644 "$tmp/out" "$3"
  rm -rf "$tmp"
}

key_is() {
  gpg --batch --quiet --show-keys --with-colons "$1" 2>/dev/null | grep -q "^fpr:*$2:"
}

# repository NAME LINE: adds a source of packages and fetches its list.
repository() {
  file=/etc/apt/sources.list.d/$1.list
  if [ "$(cat "$file" 2>/dev/null)" = "$2" ] && find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -newer "$file" 2>/dev/null | grep -q .; then return 0; fi
  echo "$2" >"$file"
  (update_packages) || {
    rm -f "$file" # else nothing could be installed any more
    exit 1
  }
}

# conda_root: where conda is.
conda_root() {
  for d in "$BERTH_USER_HOME/miniforge3" /opt/miniforge3 /opt/conda "$BERTH_USER_HOME/miniconda3" /opt/miniconda3 /opt/anaconda3 /anaconda; do
    if [ -x "$d/bin/conda" ]; then
      echo "$d"
      return 0
    fi
  done
  die "conda is not installed"
}

# environment NAME PYTHON: makes a conda environment unless it is there.
environment() {
  root=$(conda_root)
  [ -x "$root/envs/$1/bin/python" ] && return 0
  need_url https://conda.anaconda.org/conda-forge/noarch/repodata.json.zst
  "$root/bin/conda" create -q -y -n "$1" -c conda-forge --override-channels "python=$2" pip
}

# in_environment NAME COMMAND…: runs a program of a conda environment.
in_environment() {
  env=$1
  shift
  PATH="$(conda_root)/envs/$env/bin:$PATH" PYTHONNOUSERSITE=1 "$@"
}

# pip_install ENVIRONMENT PACKAGE…: installs Python packages into a conda environment.
pip_install() {
  env=$1
  shift
  need_url https://pypi.org/simple/pip/
  in_environment "$env" python -m pip install -q --disable-pip-version-check "$@" || die "these Python packages can't be installed into $env: $*"
}

# has_python ENVIRONMENT NAME VERSION: whether a package is in a conda environment; VERSION is how its version begins.
has_python() {
  root=$(conda_root 2>/dev/null) || return 1
  for d in "$root/envs/$1"/lib/python3.*/site-packages/"$2-$3"*.dist-info; do
    [ -d "$d" ] && return 0
  done
  return 1
}

# kernel ENVIRONMENT TITLE: makes a conda environment a Jupyter kernel of the user.
kernel() {
  in_environment "$1" python -m ipykernel install --user --name "$1" --display-name "$2"
}
