# Profile-likelihood intervals of generalised models: lme4's for canonical links, glmmTMB's for what lme4 has another criterion for.
# Run in this folder: Rscript glmm_profile.R > glmm_profile.json
suppressMessages({library(lme4); library(glmmTMB); library(TMB); library(jsonlite)})
read <- function(name, factors) {
  frame <- read.csv(file.path("..", "data", paste0(name, ".csv")), stringsAsFactors = FALSE)
  for (f in factors) frame[[f]] <- factor(frame[[f]])
  frame
}
control <- glmerControl(optimizer = "bobyqa", tolPwrss = 1e-10, optCtrl = list(rhoend = 1e-9, maxfun = 1e5))
of_lme4 <- function(formula, data, family) {
  m <- glmer(as.formula(formula), data, family = family, control = control)
  p <- profile(m, signames = FALSE, devtol = 1e-6)
  ci <- confint(p)
  list(names = rownames(ci), lower = ci[, 1], upper = ci[, 2])
}
# glmmTMB's parameters are log sds and log dispersion, brought back here, and a root of a correlation
of_glmmTMB <- function(formula, data, family) {
  m <- glmmTMB(as.formula(formula), data, family = family)
  one <- function(i) confint(tmbprofile(m$obj, name = i, trace = FALSE, ytol = 2.5, ystep = 0.1))
  found <- t(sapply(seq_along(m$fit$par), one))
  names <- names(m$fit$par)
  is_cor <- seq_along(names) == match("theta", names) + 2 & grepl("urban |", formula, fixed = TRUE)
  log_scale <- names != "beta" & !is_cor
  found[log_scale, ] <- exp(found[log_scale, ])
  found[is_cor, ] <- NA # its profile stops before the level; a twin takes its place
  list(names = names, lower = found[, 1], upper = found[, 2])
}
cases <- list(
  list(data = "cbpp", factors = c("herd", "period"), family = "binomial", link = "logit", by = "lme4",
       formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"),
  list(data = "Contraception", factors = c("district", "urban"), family = "binomial", link = "logit", by = "glmmTMB",
       every = 2, formula = "used ~ urban + (urban | district)"),
  list(data = "epil", factors = c("subject", "trt"), family = "poisson", link = "log", by = "glmmTMB",
       formula = "y ~ trt + lbase + lage + V4 + (1 | subject)"),
  list(data = "grouseticks", factors = c("BROOD", "LOCATION", "YEAR"), family = "nbinom2", link = "log", by = "glmmTMB",
       formula = "TICKS ~ YEAR + (1 | BROOD) + (1 | LOCATION)"),
  list(data = "bacteria", factors = c("ID", "trt"), family = "binomial", link = "probit", by = "glmmTMB",
       formula = "yes ~ trt + week + (1 | ID)")
)
out <- lapply(cases, function(case) {
  data <- read(case$data, case$factors)
  if (case$data == "Contraception") data$used <- as.integer(data$use == "Y")
  if (case$data == "epil") { data$lbase <- log(data$base / 4); data$lage <- log(data$age) }
  if (case$data == "bacteria") data$yes <- as.integer(data$y == "y")
  if (!is.null(case$every)) data <- data[seq(1, nrow(data), case$every), ]
  family <- switch(case$family, nbinom2 = nbinom2(), poisson = poisson(), binomial(link = case$link))
  c(case, switch(case$by, lme4 = of_lme4, glmmTMB = of_glmmTMB)(case$formula, data, family))
})
cat(toJSON(list(versions = list(lme4 = as.character(packageVersion("lme4")), glmmTMB = as.character(packageVersion("glmmTMB"))),
                cases = out), digits = 10, auto_unbox = TRUE, pretty = TRUE))
