# shellcheck shell=bash disable=SC2034,SC2154
# Part of ops/kafka.sh: Kafka itself, in $home.

readonly OLDEST_JAVA=17

class_path() { printf '%s:' "$home"/lib/*.jar; }
uuid() { head -c 16 /dev/urandom | base64 | tr '+/' 'AB' | tr -d '='; }

# The archive of loaded classes is of use only to the Java that made it.
stamp_of() { echo "$(cksum <"$conf/pom.xml") $(stat -Lc '%Y %s' "$(command -v java)")"; }
is_fetched() { [ "$(cat "$home/stamp" 2>/dev/null)" = "$(stamp_of)" ]; }

fetch() {
    has java || fail "there is no java: run ops/setup.sh --kafka"
    if is_fetched; then return 0; fi
    mkdir -p "$home"
    exec 8>"$home/.lock"
    flock 8
    is_fetched || fetch_all
    exec 8>&-
}

fetch_all() {
    local major
    major=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
    [ "${major:-0}" -ge "$OLDEST_JAVA" ] || fail "Java ${major:-of unknown version} is too old: install $OLDEST_JAVA or newer"
    has mvn || fail "there is no mvn: run ops/setup.sh --kafka"
    say "fetching Kafka"
    rm -rf "${home:?}"/{stamp,lib,lib.part,train,classes.jsa}
    mvn -q -B -f "$conf/pom.xml" dependency:copy-dependencies -DoutputDirectory="$home/lib.part" >"$home/maven.log" 2>&1 ||
        fail "Maven could not fetch Kafka: see $home/maven.log; is its repository reachable? then run this again"
    mv "$home/lib.part" "$home/lib"
    make_certificate
    (train)
    rm -rf "$home/train"
    stamp_of >"$home/stamp"
}

# The certificate is signed by an authority of its own: strict clients take no authority's certificate for a server's.
make_certificate() {
    local store=(-keystore "$home/server.p12" -storetype PKCS12 -storepass cairn-secret)
    local key=(-keyalg EC -groupname secp256r1 -validity 3650)
    rm -f "$home"/{server.p12,ca.pem}
    {
        keytool -genkeypair -alias ca -dname "CN=Cairn tests" -ext bc:c "${key[@]}" "${store[@]}" &&
            keytool -genkeypair -alias server -dname CN=localhost -ext san=ip:127.0.0.1,dns:localhost -signer ca \
                "${key[@]}" "${store[@]}" &&
            keytool -exportcert -rfc -alias ca -file "$home/ca.pem" "${store[@]}" &&
            keytool -delete -alias ca "${store[@]}"
    } >"$home/keytool.log" 2>&1 || fail "keytool could not make a certificate: see $home/keytool.log"
}

# A node is formatted and run once, for what spares all others the time: the first metadata (features and SCRAM
# credentials), and the archive of loaded classes, which a JVM maps instead of parsing jars.
train() {
    say "preparing a quick start"
    dir=$home/train
    mkdir -p "$dir"
    choose_cluster 1 '' yes
    configure 1
    local scram format=(format --cluster-id "$cluster" --config "$dir/node-1/server.properties")
    for scram in SCRAM-SHA-512 SCRAM-SHA-256; do
        format+=(--add-scram "$scram=[name=cairn,password=cairn-secret]")
    done
    java -cp "$(class_path)" "-Dlog4j2.configurationFile=$conf/log4j2-tools.properties" \
        kafka.tools.StorageTool "${format[@]}" >"$dir/format.log" 2>&1 ||
        fail "a node could not be formatted: see $dir/format.log"
    cp "$dir/node-1/data/bootstrap.checkpoint" "$home/"
    trap 'stop_nodes 1' EXIT
    launch 1 -XX:ArchiveClassesAtExit="$home/classes.jsa"
    await 1
    stop_nodes 1
    [ -s "$home/classes.jsa" ] || fail "Java wrote no archive of its classes: see $dir/node-1/out.log"
}
