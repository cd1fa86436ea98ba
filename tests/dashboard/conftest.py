from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User


@pytest.fixture(autouse=True)
def patience(unhurried):
    """What hangs, and for how long a page waits for it, is for test_hanging.py alone."""


@pytest.fixture
def staff(db, client):
    """Return a function that logs in a staff user with these permissions."""

    def log_in(*codenames: str) -> User:
        user = User.objects.create_user("-".join(codenames) or "nobody", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client.force_login(user)
        return user

    return log_in


@pytest.fixture
def viewer(staff):
    return staff("view_jobrecord")


@pytest.fixture
def operator(staff):
    return staff("view_jobrecord", "operate_jobs")


@pytest.fixture
def destroyer(staff):
    return staff("view_jobrecord", "operate_jobs", "destroy_jobs")


@pytest.fixture(scope="session", params=["default", "postgresql", "mariadb"])
def each_alias(request):
    """Each kind of database; before `db`, so that a test's transactions are opened on it too."""
    return request.getfixturevalue(f"{request.param}_alias") if request.param != "default" else "default"


@pytest.fixture
def history(each_alias, db, sidekick_settings):
    """The history on each kind of database, empty. Return its alias."""
    sidekick_settings(HISTORY_DATABASE=each_alias)
    return each_alias
