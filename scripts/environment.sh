# Shared by scripts/run and scripts/test: the virtual environment and, on Debian, system packages.

# install_environment EXTRAS: create .venv and install autotune with the pinned versions.
install_environment() {
  local extras=$1 stamp=".venv/.installed-$1" python=${PYTHON:-python3}
  if [ -f "$stamp" ] && [ "$stamp" -nt pyproject.toml ] && [ "$stamp" -nt constraints.txt ]; then
    return
  fi
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  echo "installing into .venv (a few minutes the first time) ..." >&2
  .venv/bin/python -m pip install --quiet --disable-pip-version-check \
    --constraint constraints.txt --editable ".[$extras]"
  touch "$stamp"
}

# install_system_packages: Chromium for the dashboard's tests, PostgreSQL for the store's.
install_system_packages() {
  local missing=()
  command -v chromium >/dev/null || missing+=(chromium)
  compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null || missing+=(postgresql)
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing ${missing[*]} ..." >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
      fonts-dejavu-core >/dev/null
  else
    echo "not installed: ${missing[*]}; the tests that need them are skipped" >&2
  fi
}
