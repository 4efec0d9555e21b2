# Read by scripts that have a folder $cache for what lasts and a folder $work for what does not.

# kept NAME MANIFEST COMMAND…: prints the folder of what COMMAND fetches into the folder it is given, fetched once for this text of the
# manifest; or says how COMMAND ended, and fails.
kept() {
  local folder fresh
  folder="$cache/$1-$(cksum <"$2" | tr ' ' -)"
  if [ ! -d "$folder" ]; then
    echo "fetching what $1 needs" >&2
    fresh="$(mktemp -d "$cache/fetching.XXXXXX")"
    if ! "${@:3}" "$fresh" >"$work/fetched" 2>&1; then
      tail -n 5 "$work/fetched" >&2
      rm -rf "$fresh"
      echo "what $1 needs could not be fetched" >&2
      return 1
    fi
    mv -T "$fresh" "$folder" 2>/dev/null || rm -rf "$fresh"
  fi
  printf '%s' "$folder"
}
