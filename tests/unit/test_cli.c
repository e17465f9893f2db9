/* The command line against a made-up gateway behind the real HTTP server, and the parts that need none. */
#include "api/cli.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/cli_doctor.h"
#include "api/cli_http.h"
#include "api/cli_print.h"
#include "core/err.h"
#include "core/log.h"
#include "tests/mock/api_backend.h"
#include "tests/mock/fake_alg_host.h"
#include "tests/unit/unit.h"

enum { ARGS_MAX = 16 };

static struct api *api;
static char directory[] = "/tmp/postern-cli-XXXXXX";
static char socket_path[64], token_path[64], transcript_path[64];
static char *out_text, *err_text;

static void start(void)
{
	char error[256] = "";

	CU_ASSERT_EQUAL_FATAL(api_start(backend_deps(socket_path, 0, NULL), error, sizeof(error), &api), 0);
}

static void stop(void)
{
	api_stop(api);
	api = NULL;
}

/* Runs "postern <line>"; words are separated by single spaces. */
static int run(const char *line)
{
	char *words = strdup(line), *rest = words, *argv[ARGS_MAX + 1] = { (char *)(uintptr_t)"postern" };
	size_t out_len, err_len;
	FILE *out, *err;
	int argc = 1, code;

	free(out_text);
	free(err_text);
	out = open_memstream(&out_text, &out_len);
	err = open_memstream(&err_text, &err_len);
	while (rest != NULL && argc < ARGS_MAX)
		argv[argc++] = strsep(&rest, " ");
	code = cli_main(argc, argv, out, err);
	fclose(out);
	fclose(err);
	free(words);
	return code;
}

static int ask(const char *verb)
{
	char line[512];

	snprintf(line, sizeof(line), "%s --socket %s", verb, socket_path);
	return run(line);
}

static bool says(const char *text)
{
	bool is_said = strstr(out_text, text) != NULL;

	if (!is_said)
		printf("# not said: %s\n", text);
	return is_said;
}

static void lists(void)
{
	start();
	CU_ASSERT_EQUAL(ask("show calls"), CLI_OK);
	CU_ASSERT_STRING_EQUAL(out_text,
		"ID                                    STATE     FROM                    TO                       "
		"REALM   PEER        STARTED              ANSWERED             HELD  STATUS  CAUSE\n"
		BACKEND_CALL "  answered  sip:alice@192.0.2.77    sip:+4930123@192.0.2.10  "
		"access  softswitch  2026-03-01 11:58:20  2026-03-01 11:58:23  no    200     -\n"
		BACKEND_ENDED "  ended     sip:\\x1b[31mmallory\xef\xbf\xbd@h  sip:x@h                  "
		"access  -           2026-03-01 11:56:40  -                    no    404     no-route\n");
	CU_ASSERT_EQUAL(ask("show calls --state ended -o tsv"), CLI_OK);
	CU_ASSERT_STRING_EQUAL(out_text,
		"id\tstate\tfrom_uri\tto_uri\tfrom_realm\tto_peer\tstarted_at\tanswered_at\tis_held\tstatus\tcause\n"
		BACKEND_ENDED "\tended\tsip:\\x1b[31mmallory\xef\xbf\xbd@h\tsip:x@h\taccess\t\t2026-03-01T11:56:40.000Z\t\tno\t404\t"
		"no-route\n");
	CU_ASSERT_EQUAL(ask("show calls --limit 1"), CLI_OK);
	CU_ASSERT_PTR_NOT_NULL(strstr(err_text, "--limit"));
	CU_ASSERT_EQUAL(ask("show cdrs -n 2"), CLI_OK);
	CU_ASSERT_TRUE(says("60.0s"));
	CU_ASSERT_EQUAL(ask("show realms"), CLI_OK);
	CU_ASSERT_TRUE(says("access  udp:192.0.2.10:5060  untrusted  latch  1"));
	CU_ASSERT_EQUAL(ask("show peers"), CLI_OK);
	CU_ASSERT_TRUE(says("softswitch  core   sip:10.0.0.20:5060  17     2"));
	stop();
}

static void lists_pinholes(void)
{
	start();
	CU_ASSERT_EQUAL(ask("show pinholes"), CLI_OK);
	CU_ASSERT_TRUE(says(BACKEND_CALL "  xdp        bound     192.0.2.77:40000  192.0.2.10:20000  10.0.0.10:20000   "
				"10.0.0.20:30000   4845     3     1.2ms   5        -     yes     test    0000000000000001\n"));
	CU_ASSERT_TRUE(says(BACKEND_ENDED "  conntrack  armed"));
	CU_ASSERT_TRUE(says("  0        -     -       0        -     yes     no BPF  "));
	CU_ASSERT_TRUE(says("\nOpen: xdp 1, tc 0, conntrack 1, nft 0. Audits found missing: 0, orphans: 0. "
			    "Helper: runs, starts 1.\n"));
	CU_ASSERT_EQUAL(ask("show pinholes " BACKEND_ENDED " -o tsv"), CLI_OK);
	CU_ASSERT_PTR_NULL(strstr(out_text, BACKEND_CALL));
	CU_ASSERT_PTR_NULL(strstr(out_text, "Open:"));
	CU_ASSERT_EQUAL(ask("show pinholes --path xdp --realm core -n 1"), CLI_OK);
	CU_ASSERT_PTR_NULL(strstr(out_text, "conntrack  "));
	stop();
}

static void lists_sessions(void)
{
	start();
	CU_ASSERT_EQUAL(ask("show sessions"), CLI_OK);
	CU_ASSERT_TRUE(says("ID                                    PROTOCOL  STATE     FROM "));
	CU_ASSERT_TRUE(says(FAKE_RTSP "  rtsp      open      192.0.2.78:50000 "));
	CU_ASSERT_TRUE(says(BACKEND_CALL "  sip       answered  sip:alice@192.0.2.77 "));
	CU_ASSERT_TRUE(says(FAKE_FTP "  ftp       open      192.0.2.77:40000        10.0.0.5:21              alice  office-ftp  "
			    "access  2026-03-01 11:58:20  1      3          -\n"));
	CU_ASSERT_EQUAL(ask("show sessions --state ended --alg office-ftp -o tsv"), CLI_OK);
	CU_ASSERT_STRING_EQUAL(out_text,
		"id\tprotocol\tstate\tfrom\tto\tuser\talg\tfrom_realm\tstarted_at\tn_holes\tn_transfers\tcause\n"
		FAKE_ENDED "\tftp\tended\t192.0.2.79:50000\t10.0.0.5:21\t\\x1b[31mmallory\xef\xbf\xbd\toffice-ftp\taccess\t"
		"2026-03-01T11:58:25.000Z\t0\t2\tidle\n");
	CU_ASSERT_EQUAL(ask("show sessions --protocol sip -n 1"), CLI_OK);
	CU_ASSERT_PTR_NOT_NULL(strstr(err_text, "--limit"));
	CU_ASSERT_EQUAL(ask("show transfers --user alice --verb STOR --session " FAKE_FTP), CLI_OK);
	CU_ASSERT_TRUE(says("2026-03-01 11:58:24  1.2s      STOR  /in/a\\x1b.pdf  alice  up   4096   226   yes  -      office-ftp  "
			    "192.0.2.77:40000  10.0.0.5:21  nft        uploads  " FAKE_FTP "  " BACKEND_TRANSFER "\n"));
	stop();
}

static void lists_algs_and_profiles(void)
{
	start();
	fake_alg_host.closed = "no helper";
	CU_ASSERT_EQUAL(ask("show algs"), CLI_OK);
	CU_ASSERT_TRUE(says("office-ftp  ftp       nat       access  core  partners  192.0.2.10:20100  no    1         17     2        "
			    "no helper\n"));
	CU_ASSERT_TRUE(says("cameras     rtsp      explicit  access  core  -         192.0.2.10:20100  yes   1         17     2        -\n"));
	CU_ASSERT_EQUAL(ask("show algs -o json"), CLI_OK);
	CU_ASSERT_TRUE(says("\"listeners\": ["));
	CU_ASSERT_EQUAL(ask("doctor"), CLI_FAILED);
	CU_ASSERT_TRUE(says("fail  algs             1 of 2 listeners are open; office-ftp: no helper\n"));
	CU_ASSERT_EQUAL(ask("show profiles"), CLI_OK);
	CU_ASSERT_TRUE(says("partners  ftp       enforce  deny     4      0        0       0           office-ftp\n"));
	CU_ASSERT_TRUE(says("capped    ftp       observe  allow    2      0        0       0           -\n"));
	CU_ASSERT_EQUAL(ask("show profile partners"), CLI_OK);
	CU_ASSERT_TRUE(says("Profile partners\n  Protocol     ftp\n  Mode         enforce\n  ALGs         office-ftp\n"));
	CU_ASSERT_TRUE(says("no-exe   deny     0     0           verb STOR,APPE; target \\.(exe|scr)$  "));
	CU_ASSERT_TRUE(says("  code 550; text not here (rule {rule})\n"));
	CU_ASSERT_TRUE(says("watch    deny     0     0           user mallory "));
	CU_ASSERT_TRUE(says("  only observed\n"));
	CU_ASSERT_TRUE(says("max_per_minute 60\n"));
	CU_ASSERT_TRUE(says("default  deny     0     0           no rule matches "));
	CU_ASSERT_EQUAL(ask("show profile other"), CLI_FAILED);
	stop();
}

static void tells_a_session(void)
{
	start();
	CU_ASSERT_EQUAL(ask("show session " FAKE_FTP), CLI_OK);
	CU_ASSERT_TRUE(says("Session " FAKE_FTP "\n  Protocol     ftp\n  State        open\n  ALG          office-ftp\n"));
	CU_ASSERT_TRUE(says("client   192.0.2.77:40000  10.0.0.5:21      214    9         1       1        TLSv1.3  TLS_AES_128_GCM_SHA256\n"));
	CU_ASSERT_TRUE(says("server   10.0.0.5:21       10.0.0.10:47114  512    10        0       0        -        -\n"));
	CU_ASSERT_TRUE(says("1     data   tcp   bound  10.0.0.5:50000  10.0.0.5:50000  0            1048576      "
			    "2026-03-01 11:58:24  nft   -\n"));
	CU_ASSERT_TRUE(says("\nDecided\n  11:58:22.500  no-exe: STOR /in/x.exe denied with 550\n"));
	CU_ASSERT_TRUE(says("\nChanged\n  11:58:22.500  client, edited\n    - PORT 192,0,2,77,200,10\n"
			    "    + PORT 10,0,0,10,78,32\\x1b\n"));
	CU_ASSERT_EQUAL(ask("show session " FAKE_RTSP), CLI_OK);
	CU_ASSERT_TRUE(says("1     server  4850     3     1.2ms   0.0s  10.0.0.10:20000 "));
	CU_ASSERT_EQUAL(ask("show session " BACKEND_CALL), CLI_OK);
	CU_ASSERT_TRUE(says("\nIt is a call: postern show call " BACKEND_CALL "\n"));
	CU_ASSERT_EQUAL(ask("show session " FAKE_FTP " -o tsv"), CLI_OK);
	CU_ASSERT_TRUE(says("legs.server.gateway\t10.0.0.10:47114\n"));
	stop();
}

static void explains_a_command(void)
{
	start();
	CU_ASSERT_EQUAL(ask("explain office-ftp STOR /in/x.exe --user alice --client 192.0.2.7 --direction up --size 4294967296"), CLI_OK);
	CU_ASSERT_TRUE(says("  Verdict      deny\n  Rule         no-exe\n  Code         550\n  Text         not here (rule no-exe)\n"));
	CU_ASSERT_TRUE(says("no-exe  deny     yes      -\n"));
	CU_ASSERT_EQUAL(ask("explain office-ftp STOR -u bob"), CLI_OK);
	CU_ASSERT_TRUE(says("  Rule         default\n"));
	CU_ASSERT_TRUE(says("uploads  allow    no       direction\n"));
	CU_ASSERT_EQUAL(ask("explain nothing STOR"), CLI_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(err_text, "  /alg no ALG of this name is configured"));
	CU_ASSERT_EQUAL(ask("explain office-ftp"), CLI_USAGE);
	CU_ASSERT_EQUAL(ask("explain office-ftp STOR --size many"), CLI_USAGE);
	CU_ASSERT_EQUAL(ask("explain office-ftp STOR x --transcript -"), CLI_USAGE);
	CU_ASSERT_EQUAL(ask("explain office-ftp --transcript /nonexistent"), CLI_USAGE);
	stop();
}

static void explains_a_transcript(void)
{
	static const char transcript[] = "S: 220 ready\nC: USER alice\nS: 230 in\nC: PASV\nS: 227 (10,0,0,5,195,80)\nC: DELE x\n";
	char line[256];
	FILE *f = fopen(transcript_path, "w");

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fputs(transcript, f);
	fclose(f);
	snprintf(line, sizeof(line), "explain office-ftp --transcript %s --server 10.0.0.5", transcript_path);
	start();
	CU_ASSERT_EQUAL(ask(line), CLI_OK);
	CU_ASSERT_TRUE(says("  Client sees  10.0.0.5:21\n"));
	CU_ASSERT_TRUE(says("     1  server 220 ready\\r\\n\n        to_client 220 ready\\r\\n\n"));
	CU_ASSERT_TRUE(says("     6  client DELE x\\r\\n\n        drop\n        to_client 5"));
	CU_ASSERT_TRUE(says("6     DELE  x       alice  -    deny     default  -\n"));
	CU_ASSERT_TRUE(says("5     data  tcp   armed  server    10.0.0.5:50000  10.0.0.5:50000  -\n"));
	stop();
}

static void speaks_json(void)
{
	static const char *const verbs[] = {
		"show calls -o json", "show config -o json", "show realms -o json", "show peers -o json", "show cdrs -o json", "doctor -o json",
		"show pinholes -o json",
		"show call " BACKEND_CALL " -o json", "show cdr " BACKEND_CDR " -o json", "show sessions -o json",
		"show session " FAKE_FTP " -o json", "show transfers -o json", "show algs -o json", "show profiles -o json",
		"show profile partners -o json", "explain office-ftp STOR -o json",
	};

	start();
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		json_t *json;

		(void)ask(verbs[i]);
		json = json_loads(out_text, JSON_REJECT_DUPLICATES, NULL);
		CU_ASSERT_PTR_NOT_NULL(json);
		CU_ASSERT_PTR_NULL(strchr(out_text, 0x1b));
		json_decref(json);
	}
	stop();
}

static void follows_pages(void)
{
	json_t *json;

	start();
	CU_ASSERT_EQUAL(ask("show cdrs -o json"), CLI_OK);
	json = json_loads(out_text, 0, NULL);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(json, "items")), 2);
	CU_ASSERT_TRUE(json_is_null(json_object_get(json, "next_cursor")));
	json_decref(json);
	stop();
}

static void tells_a_call(void)
{
	start();
	CU_ASSERT_EQUAL(ask("show call " BACKEND_CALL), CLI_OK);
	CU_ASSERT_TRUE(says("Call " BACKEND_CALL "\n"));
	CU_ASSERT_TRUE(says("  State        answered\n"));
	CU_ASSERT_TRUE(says("  Far end      192.0.2.77:5060\n"));
	CU_ASSERT_TRUE(says("  SDP received\n    v=0\n    c=IN IP4 10.9.9.9\n"));
	CU_ASSERT_TRUE(says("0 audio  caller  4850     3     1.2ms   3        0.0s  192.0.2.10:20000"));
	CU_ASSERT_TRUE(says("192.0.2.77:40000  relay  no kernel path\n"));
	CU_ASSERT_TRUE(says("  11:58:20.000  route-1: takes peer softswitch\n"));
	CU_ASSERT_TRUE(says("  (2 older ones are no longer kept)\n"));
	CU_ASSERT_TRUE(says("  11:58:20.000  caller   --INVITE-->  gateway   (192.0.2.77:5060)\n"));
	CU_ASSERT_TRUE(says("  gateway  --INVITE-->  callee   (10.0.0.20:5060)\n"));
	CU_ASSERT_TRUE(says("  gateway  <--200 OK--  callee   (10.0.0.20:5060)\n"));
	CU_ASSERT_TRUE(says("  caller   <--200 OK--  gateway   (192.0.2.77:5060)\n"));
	CU_ASSERT_EQUAL(ask("show cdr " BACKEND_CDR), CLI_OK);
	CU_ASSERT_TRUE(says("  Duration     60.0s\n"));
	CU_ASSERT_TRUE(says("0 audio  caller  3000"));
	CU_ASSERT_EQUAL(ask("show call " BACKEND_CALL " -o tsv"), CLI_OK);
	CU_ASSERT_TRUE(says("legs.a.remote\t192.0.2.77:5060\n"));
	CU_ASSERT_TRUE(says("streams.0.a.packets\t4850\n"));
	stop();
}

static void hangs_up(void)
{
	start();
	CU_ASSERT_EQUAL(ask("hangup " BACKEND_CALL), CLI_OK);
	CU_ASSERT_EQUAL(backend.n_hangups, 1);
	CU_ASSERT_EQUAL(ask("hangup " BACKEND_CALL), CLI_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(err_text, "404"));
	CU_ASSERT_EQUAL(ask("hangup ../../readyz"), CLI_FAILED);
	CU_ASSERT_EQUAL(ask("hangup " FAKE_FTP), CLI_OK);
	CU_ASSERT_STRING_EQUAL(out_text, FAKE_FTP " is being ended.\n");
	CU_ASSERT_EQUAL(fake_alg_host.n_ended, 1);
	CU_ASSERT_EQUAL(ask("hangup " FAKE_FTP), CLI_FAILED);
	stop();
}

static void reloads(void)
{
	start();
	CU_ASSERT_EQUAL(ask("reload check"), CLI_OK);
	CU_ASSERT_STRING_EQUAL(out_text, "/etc/postern/postern.yaml can be put in force. It would change:\n"
					 "  changed  /algs/office-ftp\n  added    /peers/new\\x1b\n");
	CU_ASSERT_EQUAL(backend.n_reloads, 0);
	CU_ASSERT_EQUAL(ask("reload"), CLI_OK);
	CU_ASSERT_EQUAL(backend.n_reloads, 1);
	CU_ASSERT_TRUE(says("/etc/postern/postern.yaml is in force as revision 4:\n  changed  /algs/office-ftp\n"));
	CU_ASSERT_EQUAL(ask("show config"), CLI_OK);
	CU_ASSERT_TRUE(says("2026-03-01 12:00:00"));
	CU_ASSERT_TRUE(says("\nChanged by the last reload:\n  changed  /algs/office-ftp\n"));
	CU_ASSERT_PTR_NULL(strstr(out_text, "failure"));
	CU_ASSERT_EQUAL(ask("doctor -o tsv"), CLI_OK);
	CU_ASSERT_TRUE(says("ok\tconfiguration\trevision 4, /etc/postern/postern.yaml, loaded 2026-03-01 12:00:00"));
	backend.reload_error = ERR_CONFIG;
	CU_ASSERT_EQUAL(ask("reload"), CLI_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(err_text, "/etc/postern/postern.yaml:12:5: /algs/x/port: is not known\\x1b[31m (did you mean ports?)\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(err_text, "/etc/postern/postern.yaml: cannot be read\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(err_text, "revision 3 stays in force"));
	CU_ASSERT_EQUAL(ask("show config"), CLI_OK);
	CU_ASSERT_TRUE(says("12    5       /algs/x/port  is not known\\x1b[31m  did you mean ports?\n"));
	(void)ask("doctor -o tsv");
	CU_ASSERT_TRUE(says("warn\tconfiguration\tthe reload at 2026-03-01 12:00:01 found 2 faults in /etc/postern/postern.yaml; revision 3, "));
	CU_ASSERT_EQUAL(ask("reload now"), CLI_USAGE);
	stop();
}

static void fails_well(void)
{
	CU_ASSERT_EQUAL(ask("show calls"), CLI_UNREACHABLE);
	CU_ASSERT_PTR_NOT_NULL(strstr(err_text, "no gateway answers on"));
	CU_ASSERT_PTR_NOT_NULL(strstr(err_text, "posternd"));
	CU_ASSERT_EQUAL(run("show calls --url https://127.0.0.1"), CLI_UNREACHABLE);
	CU_ASSERT_EQUAL(run("show calls --url http://127.0.0.1:1 --token-file /nonexistent"), CLI_USAGE);
	start();
	backend.loop_error = ERR_CLOSED;
	CU_ASSERT_EQUAL(ask("show calls"), CLI_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(err_text, "503"));
	backend.loop_error = 0;
	CU_ASSERT_EQUAL(ask("show cdrs --since yesterday"), CLI_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(err_text, "since must be a time"));
	stop();
}

static void reads_arguments(void)
{
	static const struct {
		const char *line;
		int code;
	} cases[] = {
		{ "--version", CLI_OK },
		{ "--help", CLI_OK },
		{ "show calls --help", CLI_OK },
		{ "hangup -h", CLI_OK },
		{ "show", CLI_USAGE },
		{ "show nothing", CLI_USAGE },
		{ "show calls extra", CLI_USAGE },
		{ "show call", CLI_USAGE },
		{ "show call a b", CLI_USAGE },
		{ "hangup", CLI_USAGE },
		{ "show pinholes a b", CLI_USAGE },
		{ "show pinholes --peer x", CLI_USAGE },
		{ "show calls --path xdp", CLI_USAGE },
		{ "show sessions x", CLI_USAGE },
		{ "show sessions --peer x", CLI_USAGE },
		{ "show session", CLI_USAGE },
		{ "show transfers --state open", CLI_USAGE },
		{ "show profile", CLI_USAGE },
		{ "explain", CLI_USAGE },
		{ "explain a b c d", CLI_USAGE },
		{ "explain a b --watch", CLI_USAGE },
		{ "explain --help", CLI_OK },
		{ "show calls --bogus", CLI_USAGE },
		{ "show calls -o", CLI_USAGE },
		{ "show calls -o xml", CLI_USAGE },
		{ "show calls --limit 0", CLI_USAGE },
		{ "show calls --limit many", CLI_USAGE },
		{ "show calls --watch=0", CLI_USAGE },
		{ "show calls --name x", CLI_USAGE },
		{ "hangup x --watch", CLI_USAGE },
		{ "completion fish", CLI_USAGE },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int code = run(cases[i].line);

		if (code != cases[i].code)
			printf("# %s: %d\n", cases[i].line, code);
		CU_ASSERT_EQUAL(code, cases[i].code);
		CU_ASSERT_TRUE(code == CLI_OK ? out_text[0] != '\0' : err_text[0] != '\0');
	}
}

/* --watch stops at the first failure, so a gateway that is gone ends it. */
static void watches(void)
{
	CU_ASSERT_EQUAL(ask("show calls --watch 5"), CLI_UNREACHABLE);
	CU_ASSERT_EQUAL(ask("show calls --watch"), CLI_UNREACHABLE);
}

static void makes_tokens(void)
{
	char line[256], file[1024] = "";
	struct stat st;
	FILE *f;

	snprintf(line, sizeof(line), "token new --file %s --name night", token_path);
	CU_ASSERT_EQUAL(run(line), CLI_OK);
	CU_ASSERT_EQUAL(strlen(out_text), 69);
	CU_ASSERT_EQUAL(stat(token_path, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 0137, 0); /* nobody else reads, nobody executes */
	f = fopen(token_path, "a");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fputs("# no end of line", f);
	fclose(f);
	snprintf(line, sizeof(line), "token new -f %s --scope read:calls,operate", token_path);
	CU_ASSERT_EQUAL(run(line), CLI_OK);
	f = fopen(token_path, "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_TRUE(fread(file, 1, sizeof(file) - 1, f) > 0);
	fclose(f);
	CU_ASSERT_PTR_NOT_NULL(strstr(file, " admin # night\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(file, "line\nsha256:"));
	CU_ASSERT_PTR_NOT_NULL(strstr(file, " read:calls,operate\n"));
	CU_ASSERT_PTR_NULL(strstr(file, "pst_"));
	snprintf(line, sizeof(line), "token new -f %s --scope everything", token_path);
	CU_ASSERT_EQUAL(run(line), CLI_USAGE);
	snprintf(line, sizeof(line), "token new -f %s --name a#b", token_path);
	CU_ASSERT_EQUAL(run(line), CLI_USAGE);
	snprintf(line, sizeof(line), "token new -f %s/no/such", directory);
	CU_ASSERT_EQUAL(run(line), CLI_FAILED);
}

static void examines(void)
{
	start();
	(void)ask("doctor");
	CU_ASSERT_TRUE(says("ok    gateway"));
	CU_ASSERT_TRUE(says("ok    database"));
	CU_ASSERT_TRUE(says("realm access uses 20000-29999"));
	CU_ASSERT_TRUE(says("ok    media path       realm access, xdp on test0: test\n"));
	backend.is_draining = true;
	CU_ASSERT_EQUAL(ask("doctor -o tsv"), CLI_FAILED);
	CU_ASSERT_TRUE(says("fail\tadmission\tdraining"));
	stop();
	CU_ASSERT_EQUAL(ask("doctor"), CLI_UNREACHABLE);
	CU_ASSERT_TRUE(says("fail  gateway"));
}

static const char *status_of(const json_t *checks, size_t i)
{
	const char *status = json_string_value(json_object_get(json_array_get(checks, i), "status"));

	return status ? status : "(none)";
}

static void judges(void)
{
	static const struct {
		const char *ephemeral, *reserved, *status;
	} ports[] = {
		{ "32768\t60999", "", "ok" },
		{ "20000\t60999", "", "warn" },
		{ "29999\t60999", "", "warn" },
		{ "30000\t60999", "", "ok" },
		{ "1024\t65535", "20000-29999", "ok" },
		{ "1024\t65535", "8080,20000-24999,25000-29999", "ok" },
		{ "1024\t65535", "20000-24999,25001-29999", "warn" },
		{ "1024\t65535", "nonsense", "warn" },
	};
	static char limits[] = "Limit  Soft\nMax open files            1024                 4096                 files\n";
	json_t *checks = json_array();
	json_t *realms = json_pack("[{s:s, s:i, s:i}]", "name", "r", "media_port_min", 20000, "media_port_max", 29999);
	FILE *f = fmemopen(limits, sizeof(limits) - 1, "r");

	for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		doctor_check_ports(checks, realms, ports[i].ephemeral, ports[i].reserved);
		CU_ASSERT_STRING_EQUAL(status_of(checks, i), ports[i].status);
	}
	json_array_clear(checks);
	doctor_check_rmem(checks, "212992");
	doctor_check_rmem(checks, "8388608");
	doctor_check_files(checks, f);
	CU_ASSERT_STRING_EQUAL(status_of(checks, 0), "warn");
	CU_ASSERT_STRING_EQUAL(status_of(checks, 1), "ok");
	CU_ASSERT_STRING_EQUAL(status_of(checks, 2), "warn");
	fclose(f);
	json_decref(realms);
	json_decref(checks);
}

/* A mechanism that cannot be used is worth a warning only when its realm has no other. */
static void judges_media_paths(void)
{
	static const char text[] =
		"[{\"realm\": \"a\", \"path\": \"xdp\", \"is_usable\": false, \"is_wanted\": true, \"reason\": \"no driver\"},"
		" {\"realm\": \"a\", \"path\": \"tc\", \"is_usable\": true, \"is_wanted\": true, \"reason\": \"proved\"},"
		" {\"realm\": \"b\", \"path\": \"xdp\", \"is_usable\": false, \"is_wanted\": true, \"reason\": \"no driver\"},"
		" {\"realm\": \"b\", \"path\": \"tc\", \"is_usable\": true, \"is_wanted\": false, \"reason\": \"proved\"}]";
	json_t *checks = json_array(), *paths = json_loads(text, 0, NULL);

	doctor_check_media(checks, paths);
	CU_ASSERT_EQUAL(json_array_size(checks), 3);
	CU_ASSERT_STRING_EQUAL(status_of(checks, 0), "note");
	CU_ASSERT_STRING_EQUAL(status_of(checks, 1), "ok");
	CU_ASSERT_STRING_EQUAL(status_of(checks, 2), "warn");
	json_decref(paths);
	json_decref(checks);
}

static void takes_replies_apart(void)
{
	static const struct {
		const char *raw;
		int err, status;
		const char *body;
	} cases[] = {
		{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 0, 200, "{}" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}trailing", 0, 200, "{}" },
		{ "HTTP/1.0 404 Not Found\r\n\r\nuntil the end", 0, 404, "until the end" },
		{ "HTTP/1.1 204 No Content\r\n\r\n", 0, 204, "" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n", 0, 200,
		  "abc0123456789" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", ERR_PARSE, 0, NULL },
		{ "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}", ERR_PARSE, 0, NULL },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}", ERR_PARSE, 0, NULL },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc\r\n", ERR_PARSE, 0, NULL },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", ERR_PARSE, 0, NULL },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\nabc\r\n", ERR_PARSE, 0, NULL },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nabc\r\n", ERR_PARSE, 0, NULL },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", ERR_PARSE, 0, NULL },
		{ "HTTP/1.1 200 OK\r\nContent-Le", ERR_PARSE, 0, NULL },
		{ "HTTP/1.1 20", ERR_PARSE, 0, NULL },
		{ "HTTP/1.1 099 X\r\n\r\n", ERR_PARSE, 0, NULL },
		{ "SIP/2.0 200 OK\r\n\r\n", ERR_PARSE, 0, NULL },
		{ "", ERR_PARSE, 0, NULL },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *raw = strdup(cases[i].raw);
		struct span body = SPAN_NONE;
		int status = 0;

		CU_ASSERT_EQUAL(cli_http_parse(raw, strlen(raw), &status, &body), cases[i].err);
		CU_ASSERT_EQUAL(status, cases[i].status);
		CU_ASSERT_TRUE(span_eq(body, span_of(cases[i].body)));
		free(raw);
	}
}

static void cleans(void)
{
	static const struct {
		const char *text, *line, *lines;
	} cases[] = {
		{ "plain \xc3\xa4", "plain \xc3\xa4", "plain \xc3\xa4" },
		{ "a\nb\tc", "a\\x0ab\\x09c", "a\nb\tc" },
		{ "\x1b]0;title\x07", "\\x1b]0;title\\x07", "\\x1b]0;title\\x07" },
		{ "\xc2\x9b" "31m\x7f", "\\xc2\\x9b31m\\x7f", "\\xc2\\x9b31m\\x7f" },
		{ "\xff\xe2\x82", "\\xff\\xe2\\x82", "\\xff\\xe2\\x82" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *line = cli_clean(cases[i].text, false), *lines = cli_clean(cases[i].text, true);

		CU_ASSERT_STRING_EQUAL(line, cases[i].line);
		CU_ASSERT_STRING_EQUAL(lines, cases[i].lines);
		free(line);
		free(lines);
	}
}

static void completes(void)
{
	CU_ASSERT_EQUAL(run("completion bash"), CLI_OK);
	CU_ASSERT_TRUE(says("1) words=\"show explain alg hangup reload doctor token completion --help --version\""));
	CU_ASSERT_TRUE(says("show) words=\" calls call cdrs cdr sessions session transfers algs profiles profile config realms peers pinholes\""));
	CU_ASSERT_TRUE(says("alg) words=\" list run\""));
	CU_ASSERT_TRUE(says("\t\"alg run\") COMPREPLY=($(compgen -f -- \"$cur\"))\n"));
	CU_ASSERT_TRUE(says("--output) COMPREPLY=($(compgen -W 'table json tsv'"));
	CU_ASSERT_TRUE(says("--direction) COMPREPLY=($(compgen -W 'up down'"));
	CU_ASSERT_TRUE(says("--transcript) COMPREPLY=($(compgen -f"));
	CU_ASSERT_TRUE(says("complete -F _postern postern"));
}

static const struct unit_test tests[] = {
	{ "lists as tables and tab-separated values", lists },
	{ "pinholes", lists_pinholes },
	{ "sessions and transfers", lists_sessions },
	{ "ALGs and profiles", lists_algs_and_profiles },
	{ "one session for people", tells_a_session },
	{ "a command is explained", explains_a_command },
	{ "a transcript is explained", explains_a_transcript },
	{ "JSON for every verb that shows", speaks_json },
	{ "pages are followed", follows_pages },
	{ "one call for people", tells_a_call },
	{ "hanging up", hangs_up },
	{ "a reload, and what is told of it", reloads },
	{ "failures say what to do", fails_well },
	{ "arguments and exit codes", reads_arguments },
	{ "watching", watches },
	{ "tokens are made and appended", makes_tokens },
	{ "the doctor examines", examines },
	{ "the doctor judges", judges },
	{ "the doctor judges media paths", judges_media_paths },
	{ "replies are taken apart strictly", takes_replies_apart },
	{ "nothing unclean is printed", cleans },
	{ "completion comes from the tables", completes },
};

int main(int argc, char **argv)
{
	int result = 99;

	log_setup(2, LOG_TEXT, LOG_ERROR);
	if (mkdtemp(directory) != NULL) {
		snprintf(socket_path, sizeof(socket_path), "%s/api.sock", directory);
		snprintf(token_path, sizeof(token_path), "%s/tokens", directory);
		snprintf(transcript_path, sizeof(transcript_path), "%s/transcript", directory);
		result = unit_main(argc, argv, "cli", tests, sizeof(tests) / sizeof(tests[0]));
		unlink(token_path);
		unlink(transcript_path);
		unlink(socket_path);
		rmdir(directory);
	}
	free(out_text);
	free(err_text);
	backend_fini();
	return result;
}
