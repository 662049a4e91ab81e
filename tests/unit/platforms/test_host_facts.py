import platform

from benchmarking.platforms.host import facts


def test_a_system_that_does_not_say_what_it_is_has_the_name_of_its_kernel(monkeypatch):
    def nothing():
        raise FileNotFoundError("/etc/os-release")

    for release in (nothing, dict):
        monkeypatch.setattr(platform, "freedesktop_os_release", release)
        assert facts._operating_system() == platform.system()
