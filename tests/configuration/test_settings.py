"""Settings: every variable is checked, all faults are reported at once, secrets stay secret."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from deepspeech_wer.configuration import environment, misspelt, settings
from deepspeech_wer.errors import UsageTrouble
from deepspeech_wer.jobs import runners
from deepspeech_wer.training import parameters


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("x")
    path.chmod(0o600)
    return path


def website(key: Path) -> dict[str, str]:
    return {
        "ds_website_username": "www",
        "ds_website_privkey": str(key),
        "ds_website_server_fqdn": "WWW.Example.com",
        "ds_website_server_root": "htdocs/my site",
    }


def faults(given: dict[str, str]) -> str:
    with pytest.raises(UsageTrouble) as caught:
        settings.load(given)
    return str(caught.value)


def test_the_defaults_are_those_of_2016(sealed: Path) -> None:
    current = settings.load({})
    assert current.repository.url == "https://github.com/mozilla/DeepSpeech.git"
    assert current.repository.page == "https://github.com/mozilla/DeepSpeech"
    assert current.job.script == "./bin/run-wer-automation.sh"
    assert current.clone_path == sealed / "ds_exec_clone"
    assert (current.job.attempts, current.job.timeout_s, current.job.grace_s) == (2, None, 60)
    assert (current.repository.track, current.repository.backlog, current.repository.ref) == ("merges", "all", None)
    assert (current.places.cache, current.places.data) == (
        sealed / ".cache/deepspeech_wer",
        sealed / ".local/share/deepspeech_wer",
    )
    assert current.website is None
    assert current.website_missing == tuple(website(Path("x")))


def test_a_whole_website_is_read(key: Path) -> None:
    found = settings.load(website(key)).website
    assert found == settings.Website("www", "www.example.com", 22, key, None, None, "htdocs/my site", (0o644, 0o755))


def test_account_and_project_make_the_url() -> None:
    current = settings.load({"ds_github_account": "kaldi-asr", "ds_github_project": "kaldi"})
    assert (current.repository.url, current.repository.name) == (
        "https://github.com/kaldi-asr/kaldi.git",
        "kaldi-asr/kaldi",
    )


@pytest.mark.parametrize(
    ("url", "page", "name"),
    [
        ("https://github.com/a/b.git", "https://github.com/a/b", "a/b"),
        ("https://token@github.com/a/b", "https://github.com/a/b", "a/b"),
        ("git@github.com:a/b.git", "https://github.com/a/b", "a/b"),
        ("ssh://git@gitlab.com/a/b/c.git", "https://gitlab.com/a/b/c", "b/c"),
        ("ssh://git@git.example.com:2222/a/b.git", None, "a/b"),
        ("git://127.0.0.1:9418/speech", None, "speech"),
        ("https://example.com:8443/team/speech/", None, "team/speech"),
        ("host:speech", None, "host/speech"),
        ("file:///srv/git/speech.git", None, "speech"),
        ("/srv/git/speech/.git", None, "speech"),
        ("/", None, "/"),
        ("file:///", None, "/"),
    ],
)
def test_the_repository_has_a_name_and_a_page(url: str, page: str | None, name: str) -> None:
    current = settings.load({"ds_repo_url": url})
    assert (current.repository.page, current.repository.name) == (page, name)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ds_repo_url", "--upload-pack=touch x", "a git URL"),
        ("ds_repo_url", "ext::sh -c touch% x", "a git URL"),
        ("ds_github_account", "../..", "a name"),
        ("ds_github_ref", "--all", "the name of a branch"),
        ("ds_github_ref", "a..b", "the name of a branch"),
        ("ds_track", "squash", "merges or commits"),
        ("ds_backlog", "some", "all or newest"),
        ("ds_clone_path", "$HOME/clone", "a crontab expands no variables"),
        ("ds_dataroot", "${HOME}", "a crontab expands no variables"),
        ("ds_github_token", "$(cat /run/secrets/token)", "the token itself, without quotes, and no variable"),
        ("ds_gitlab_token", '"glpat-abc"', "the token itself, without quotes"),
        ("ds_repo_url", "https://x:${TOKEN}@example.com/a.git", "a git URL with the password itself: a crontab"),
        ("ds_repo_url", "https://$TOKEN@example.com/a.git", "a git URL with the password itself: a crontab"),
        ("ds_wer_automation", "bash ./bin/run.sh", "the path of a script alone: what runs it belongs into its #! line"),
        ("ds_wer_automation", "/usr/bin/python3.11 train.py", "the path of a script alone"),
        ("ds_wer_automation", "./bin/run me.sh --epochs 3", "the path of a script alone"),
        ("ds_job_timeout", "1h", "a positive number of seconds"),
        ("ds_job_timeout", "0", "a positive number of seconds"),
        ("ds_job_timeout", "nan", "a positive number of seconds"),
        ("ds_job_attempts", "0", "a whole number from 1"),
        ("ds_job_attempts", "²", "a whole number from 1"),
        ("ds_automation_force_sha", "HEAD", "7 to 64 hex digits"),
        ("ds_website_server_port", "65536", "a whole number from 1 to 65535"),
        ("ds_website_username", "web:hunter2", "********: expected a user without a password, since the tracker logs"),
        ("ds_website_server_root", "sftp://web:hunter2@www/x", "'sftp://www/x': expected the path alone: user, host"),
        ("ds_website_server_root", "web@www:/srv/www", "'web@www:/srv/www': expected the path alone: user, host"),
        ("ds_website_server_root", "$HOME/www", "the web host expands no variables"),
        ("ds_website_server_fqdn", "-oProxyCommand=x", "a host name"),
        ("ds_website_server_fqdn", "host:22", "a host name"),
        ("ds_website_url", "ftp://x", "starts with http"),
        ("ds_website_audio", "javascript:alert(1)", "a path beside the page"),
        ("ds_website_audio", "audio/{name}.wav", "audio/{id}.wav"),
        ("ds_website_audio", "https://x.org/'; script-src *", "an http or https address"),
        ("ds_website_audio", "//x.org/a", "an http or https address"),
        ("ds_website_modes", "644", "two octal modes"),
        ("ds_website_known_hosts", "/nowhere", "a file, found none"),
        ("ds_webhook_url", "x", "starts with http"),
        ("ds_webhook_secret", "whsec_", "openssl rand"),
        ("ds_webhook_secret", "whsec_no base64", "openssl rand"),
        ("ds_webhook_secret", "two\nlines", "one line"),
        ("ds_tell_better", "yes", "1 or 0"),
    ],
)
def test_an_unusable_value_is_reported_with_what_was_expected(name: str, value: str, expected: str) -> None:
    line = next(line for line in faults({name: value}).splitlines() if line.startswith(f"{name}: "))
    assert expected in line


def test_all_faults_are_reported_at_once(key: Path) -> None:
    given = website(key) | {"ds_track": "x", "ds_job_attempts": "x", "ds_website_server_port": "x"}
    assert [line.partition(":")[0] for line in faults(given).splitlines()] == [
        "ds_track",
        "ds_job_attempts",
        "ds_website_server_port",
    ]


@pytest.mark.parametrize(
    ("clone", "dataroot", "others"),
    [
        ("{home}/x", "{home}/x", ["ds_dataroot"]),
        ("{home}/x", "{home}/x/y", ["ds_dataroot"]),
        ("{home}/x/deepspeech_wer/runs", "{home}/x", ["ds_dataroot"]),
        ("{home}/link/deepspeech_wer", "{home}/x", ["ds_dataroot"]),
        ("{home}/.cache/deepspeech_wer/clone", "{home}/x", ["XDG_CACHE_HOME"]),
        ("{home}", "{home}/x", ["ds_dataroot", "XDG_CACHE_HOME"]),
        ("/", "{home}/x", ["ds_dataroot", "XDG_CACHE_HOME"]),
    ],
)
def test_the_checkout_must_not_overlap_with_data_or_cache(
    sealed: Path, clone: str, dataroot: str, others: list[str]
) -> None:
    (sealed / "link").symlink_to("x")
    given = {"ds_clone_path": clone.format(home=sealed), "ds_dataroot": dataroot.format(home=sealed)}
    found = faults(given).splitlines()
    assert len(found) == len(others)
    for line, other in zip(found, others, strict=True):
        assert line.startswith("ds_clone_path: ")
        assert f"does not overlap with {other} (" in line


@pytest.mark.parametrize("name", ["ds_clone_path", "ds_dataroot", "ds_gpu_usage_root", "ds_gpu_usage_charts"])
@pytest.mark.parametrize("place", ["/proc/1/root", "/proc/self/cwd/x", "/tmp/../proc", "/dev/fd/3"])
def test_a_directory_that_each_process_finds_elsewhere_is_refused(name: str, place: str) -> None:
    assert faults({name: place}) == (
        f"{name}: '{place}': expected a directory outside /proc, where each process finds another one"
    )


@pytest.mark.parametrize("name", ["ds_clone_path", "ds_dataroot"])
def test_a_link_that_this_user_may_not_follow_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of other users' processes in /proc are."""
    real = os.path.realpath

    def realpath(path: Path) -> str:
        if "link" in str(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(settings.os.path, "realpath", realpath)
    found = faults({name: "/somewhere/link"})
    assert found.startswith(f"{name}: '/somewhere/link")
    assert found.endswith("expected a directory that this user reaches: Permission denied")


@pytest.mark.parametrize("dataroot", ["{home}/.cache", "{home}/link", "{home}/y/../.cache"])
def test_the_data_must_not_be_the_cache(sealed: Path, dataroot: str) -> None:
    (sealed / "link").symlink_to(".cache")
    (line,) = faults({"ds_dataroot": dataroot.format(home=sealed)}).splitlines()
    assert line.startswith("ds_dataroot: ")
    assert line.endswith("is the cache (XDG_CACHE_HOME), too: expected a directory for the runs only")


def test_the_checkout_may_be_next_to_the_data(sealed: Path) -> None:
    assert settings.load({"ds_clone_path": f"{sealed}/x/clone", "ds_dataroot": f"{sealed}/x"}).clone_path


@pytest.mark.parametrize("missing", ["ds_website_username", "ds_website_privkey", "ds_website_server_root"])
def test_a_partly_set_website_is_a_fault(key: Path, missing: str) -> None:
    given = website(key)
    del given[missing]
    assert faults(given).startswith(f"{missing}: not set: expected all of ds_website_username")


def test_an_agent_may_hold_the_key(key: Path) -> None:
    given = website(key) | {"SSH_AUTH_SOCK": "/run/agent"}
    del given["ds_website_privkey"]
    found = settings.load(given).website
    assert found
    assert found.privkey is None


def test_a_misspelt_website_variable_is_a_fault() -> None:
    assert "ds_website_user: no such variable" in faults({"ds_website_user": "x"})


def test_a_key_that_others_can_read_is_refused(key: Path) -> None:
    key.chmod(0o640)
    assert re.search(r"found mode 0640 \(chmod 600 ", faults(website(key)))


@pytest.mark.parametrize("end", ["\n", " ", ""])
def test_a_key_in_the_place_of_its_path_is_not_quoted(key: Path, end: str) -> None:
    pasted = (
        f"-----BEGIN OPENSSH PRIVATE KEY-----{end}"
        + f"{'c2VjcmV0' * 8}{end}" * 40
        + "-----END OPENSSH PRIVATE KEY-----"
    )
    told = faults({**website(key), "ds_website_privkey": pasted})
    assert "ds_website_privkey: ********: expected the path of a private key file, found a key (write it" in told
    assert "c2VjcmV0" not in told


@pytest.mark.parametrize("name", ["ds_website_privkey", "ds_website_known_hosts"])
def test_a_path_that_cannot_be_looked_at_is_a_fault(key: Path, name: str) -> None:
    told = faults({**website(key), name: f"/tmp/{'c2VjcmV0' * 99}"})
    assert re.search(f"{name}: .*expected a file that this user can reach, found none: File name too long", told)
    assert told.count("c2VjcmV0") < 13  # what a message quotes at most


def test_a_key_of_another_user_may_be_readable_as_for_ssh(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So are secrets that a container gets as a volume; this user cannot change their mode."""
    key.chmod(0o644)
    monkeypatch.setattr(os, "getuid", lambda: key.stat().st_uid + 1)
    assert settings.load(website(key)).website


def test_a_public_key_may_stand_before_the_private_one(key: Path) -> None:
    key.write_text(f"ssh-rsa AAAA x\n{key.read_text()}-----BEGIN RSA PRIVATE KEY-----\n")
    assert settings.load(website(key)).website


@pytest.mark.parametrize("mode", [0o600, 0o644])
@pytest.mark.parametrize("text", ["ssh-ed25519 AAAA x\n", "-----BEGIN PUBLIC KEY-----\nAAAA\n"])
def test_a_public_key_is_told_with_its_private_half(key: Path, mode: int, text: str) -> None:
    public = key.with_name("key.pub")
    public.write_text(text)
    public.chmod(mode)
    told = faults(website(public))
    assert "chmod" not in told
    assert re.search(rf"found a public one \(give its private half: {key}\)", told)
    assert "usually its name without .pub" in faults(website(public.rename(key)))


def test_an_empty_value_counts_as_unset() -> None:
    assert settings.load({"ds_github_ref": "", "ds_job_timeout": ""}).repository.ref is None


def test_secrets_are_masked_wherever_they_are_shown() -> None:
    given = {
        "ds_github_token": "s3cret",
        "ds_webhook_url": "https://hooks.example.com/s3cret",
        "ds_website_privkey_passphrase": "s3cret",
        "ds_repo_url": "https://user:s3cret@example.com/x.git",
    }
    rows = settings.describe(given)
    assert "s3cret" not in str(rows)
    assert ("ds_github_token", settings.MASK, "environment") in rows
    assert ("ds_repo_url", "https://example.com/x.git", "environment") in rows
    assert ("ds_track", "merges", "default") in rows
    assert ("ds_github_ref", "HEAD", "derived") in rows
    assert ("ds_job_timeout", "", "not set") in rows
    assert "s3cret" not in faults({"ds_github_token": "s3cret\n", "ds_webhook_url": "s3cret"})
    assert "s3cret" not in faults({"ds_gitlab_token": "s3cret\n", "ds_webhook_secret": "whsec_s3cret!"})


@pytest.mark.parametrize(
    ("root", "meant"),
    [("~/www", "www"), ("~", "."), ("~//x~", "x~"), ("~ada/www", "~ada/www"), ("/srv/~/x", "/srv/~/x")],
)
def test_the_login_directory_of_the_web_host_may_be_written_as_in_a_shell(key: Path, root: str, meant: str) -> None:
    found = settings.load({**website(key), "ds_website_server_root": root}).website
    assert found
    assert found.server_root == meant


def test_a_user_of_a_bastion_may_name_target_and_protocol(key: Path) -> None:
    given = {**website(key), "ds_website_username": "root@target:SSH:ada"}
    found = settings.load(given).website
    assert found
    assert found.username == "root@target:SSH:ada"


def test_a_password_of_the_web_host_is_not_shown() -> None:
    given = {"ds_website_username": "web:hunter2", "ds_website_server_root": "sftp://web:hunter2@www/x"}
    shown = {name: value for name, value, _ in settings.describe(given)}
    assert shown["ds_website_username"] == "********"
    assert shown["ds_website_server_root"] == "sftp://www/x"


def test_a_passphrase_is_in_no_representation(key: Path) -> None:
    loaded = settings.load(website(key) | {"ds_website_privkey_passphrase": "s3cret"})
    assert loaded.website is not None
    assert loaded.website.privkey_passphrase == "s3cret"
    assert "s3cret" not in repr(loaded)


def test_the_job_gets_everything_but_secrets(key: Path) -> None:
    given = website(key) | {
        "ds_github_token": "x",
        "ds_webhook_url": "x",
        "ds_gitlab_token": "x",
        "ds_webhook_secret": "x",
    }
    given |= {"SSH_AUTH_SOCK": "x", "GIT_DIR": "x"}
    passed = {"ds_epochs": "3", "PATH": "/bin", "LANG": "C", "ds_repo_url": "https://example.com/x.git"}
    assert environment.job_environment(given | passed) == passed


def test_loaded_secrets_are_forgotten(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = website(key) | {"ds_github_token": "x", "ds_webhook_url": "https://hooks.example.com/x"}
    for name, value in {**given, "ds_epochs": "3", "SSH_AUTH_SOCK": "x"}.items():
        monkeypatch.setenv(name, value)
    environment.forget_secrets()
    assert not given.keys() & os.environ.keys()
    assert {"ds_epochs", "SSH_AUTH_SOCK"} <= os.environ.keys()


def test_a_password_in_the_url_is_a_secret_too() -> None:
    given = {"ds_repo_url": "https://user:s3cret@example.com/x.git"}
    assert environment.job_environment(given) == {"ds_repo_url": "https://example.com/x.git"}


@pytest.mark.parametrize(
    "url",
    ["https://example.com/x.git#s3cret", "http://u@example.com/x#s3cret", "file://u:s3cret@/x", "file://s3cret@host/x"],
)
def test_what_a_repository_never_needs_in_its_url_may_be_a_secret(url: str) -> None:
    with pytest.raises(UsageTrouble) as caught:
        settings.load({"ds_repo_url": url})
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in str(settings.describe({"ds_repo_url": url}))
    for path in ("https://example.com/x%23y.git", "https://u:p#w@example.com/x", "file:///a@b/c#d"):
        assert settings.load({"ds_repo_url": path})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ds_repo_ulr", "ds_repo_url"),
        ("ds_job_time_out", "ds_job_timeout"),
        ("ds_github_branch", "ds_github_ref"),
        ("ds_webhook", "ds_webhook_url"),
        ("ds_slack_url", "ds_webhook_url"),
        ("ds_notify_url", "ds_webhook_url"),
        ("DS_TEAMS_WEBHOOK", "ds_webhook_url"),
        ("ds_mattermost_hook_uri", "ds_webhook_url"),
        ("ds_branch", "ds_github_ref"),
        ("ds_username", "ds_website_username"),
        ("ds_publish", "ds_publish_every or ds_publish_logs"),
        ("ds_repository_url", "ds_repo_url"),
        ("DS_REPO_URL", "ds_repo_url"),
        ("Ds_Track", "ds_track"),
        ("DS_WEBSITE_SERVER_PORTS", "ds_website_server_port"),
    ],
)
def test_a_misspelt_variable_is_doubted(name: str, meant: str) -> None:
    assert settings.load({name: "1"}).doubts == (f"{name}: the tracker has no such variable: is {meant} meant?",)


def test_a_variable_of_the_job_is_not_doubted() -> None:
    of_the_job = [variable.name for variable in parameters.VARIABLES]
    assert "ds_epochs" in of_the_job
    assert misspelt.doubts(dict.fromkeys(of_the_job, "1"), settings.NAMES) == []


def test_what_run_json_records_of_the_operators_variables_has_no_secret_and_no_path() -> None:
    given = {
        "HOME": "/h",
        "ds_epochs": "3",
        "ds_dataset_path": "/mnt/secret-project/an4",
        "ds_hub_token": "t0ken",
        "ds_job_attempts": "2",
        "ds_github_token": "g",
        "ds_origin": "https://me:pw@example.com/x",
    }
    found = environment.operators_variables(given, ignored=settings.NAMES)
    assert found == {
        "ds_epochs": "3",
        "ds_dataset_path": "(path)",
        "ds_hub_token": "(secret)",
        "ds_origin": "(path)",
    }


def test_slurm_settings_become_options_of_sbatch() -> None:
    given = {
        "ds_runner": "slurm",
        "ds_parallel_runs": "4",
        "ds_slurm_partition": "gpu",
        "ds_slurm_gpus": "a100:2",
        "ds_slurm_time": "1-12:00:00",
        "ds_slurm_account": "speech",
        "ds_slurm_options": "--mem=32G --comment='two words' --exclusive",
    }
    expected = ("--partition=gpu", "--gpus=a100:2", "--time=1-12:00:00", "--account=speech", "--mem=32G")
    cluster = settings.load(given).cluster
    assert runners.options_of(cluster) == (*expected, "--comment=two words", "--exclusive")
    assert (cluster.is_slurm, cluster.parallel_runs) == (True, 4)
    assert not settings.load({}).cluster.is_slurm


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ds_slurm_options", "-n 4", "options of sbatch, each in one word"),
        ("ds_slurm_options", "--mem 32G", "options of sbatch, each in one word"),
        ("ds_slurm_options", "--output=x --array=1-9", "without --array, --output, which the tracker sets"),
        ("ds_slurm_options", "--comment='x", "options of sbatch, each in one word"),
        ("ds_slurm_time", "soon", "a time limit as sbatch takes it"),
        ("ds_slurm_time", "0", "a time limit as sbatch takes it"),
        ("ds_slurm_partition", "a b", "a word as sbatch takes it"),
        ("ds_slurm_account", "--wrap", "a word as sbatch takes it"),
        ("ds_parallel_runs", "4", "expected 1, since this machine trains one merge at a time: set ds_runner=slurm"),
        ("ds_runner", "pbs", "local or slurm"),
    ],
)
def test_unusable_slurm_settings_are_named(name: str, value: str, expected: str) -> None:
    said = faults({name: value})
    assert said.startswith(f"{name}: ")
    assert expected in said
