"""A dataset in the forms that others read: annotations of Open-Sora-Plan beside its videos, or plain tables."""
