# Reference numbers of models with known sampling covariances, by metafor's rma.mv: Rscript known_residual.R
# berkey: Berkey, C. S., Hoaglin, D. C., Antczak-Bouckoms, A., Mosteller, F. and Colditz, G. A. (1998), Meta-analysis of
# multiple outcomes by regression with random effects, Statistics in Medicine 17, 2537-2550, table 1: five trials of two
# treatments of periodontal disease, improvements of probing depth (PD) and attachment level (AL) with their covariances.
# simulated: 14 studies of one to four effects whose errors correlate by 0.6 within a study.
suppressMessages(library(metafor))
library(jsonlite)

berkey <- data.frame(
  trial = rep(1:5, each = 2), year = rep(c(1983, 1982, 1979, 1987, 1988), each = 2), outcome = rep(c("PD", "AL"), 5),
  yi = c(.47, -.32, .20, -.60, .40, -.12, .26, -.31, .56, -.39)
)
berkey_V <- bldiag(
  matrix(c(.0075, .0030, .0030, .0077), 2), matrix(c(.0057, .0009, .0009, .0008), 2),
  matrix(c(.0021, .0007, .0007, .0014), 2), matrix(c(.0029, .0009, .0009, .0015), 2),
  matrix(c(.0148, .0072, .0072, .0304), 2)
)
set.seed(1998)
study <- rep(1:14, times = rep(1:4, length.out = 14))
simulated <- data.frame(study = study, effect = seq_along(study), dose = round(runif(length(study), 0, 4), 2))
simulated$vi <- round(rgamma(length(study), 4, 40) + 0.01, 4)
simulated_V <- as.matrix(vcalc(vi, cluster = study, obs = effect, rho = 0.6, data = simulated))
errors <- t(chol(simulated_V)) %*% rnorm(length(study))
simulated$yi <- round(0.3 + 0.2 * simulated$dose + rnorm(14, sd = 0.5)[study] + rnorm(length(study), sd = 0.25) + errors[, 1], 4)

exact <- list(optimizer = "uobyqa", rhoend = 1e-11)
numbers <- function(fit) list(
  estimates = as.vector(fit$beta), std_errors = fit$se, covariance = fit$vb, sigma2 = fit$sigma2, tau2 = fit$tau2,
  rho = fit$rho, log_likelihood = as.numeric(logLik(fit)), log_det_xx = as.numeric(determinant(crossprod(fit$X))$modulus)
)
fits <- function(method) list(
  berkey_outcomes = numbers(rma.mv(yi, berkey_V, mods = ~ 0 + outcome, random = ~ outcome | trial, struct = "UN",
    data = berkey, method = method, control = exact)),
  berkey_years = numbers(rma.mv(yi, berkey_V, mods = ~ outcome * I(year - 1983), random = ~ 1 | trial,
    data = berkey, method = method, control = exact)),
  simulated = numbers(rma.mv(yi, simulated_V, random = ~ 1 | study, data = simulated, method = method, control = exact)),
  simulated_dose = numbers(rma.mv(yi, simulated_V, mods = ~ dose, random = ~ 1 | study / effect, data = simulated,
    method = method, control = exact)),
  simulated_fixed = numbers(rma.mv(yi, simulated_V, mods = ~ dose, data = simulated, method = method))
)
out <- list(
  metafor = as.character(packageVersion("metafor")),
  data = list(berkey = as.list(berkey), simulated = as.list(simulated)),
  V = list(berkey = unname(berkey_V), simulated = unname(simulated_V)),
  ML = fits("ML"), REML = fits("REML")
)
write(toJSON(out, digits = NA, auto_unbox = TRUE, pretty = FALSE), "known_residual.json")
